"""A browser, and studies to look at with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Opened, chromium, opener
from tests.support.command_line import command, environment
from tests.support.copies import copy_of
from tests.support.dashboard import Dashboard, serving


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(browser: Browser) -> Opened:
    """Opens pages."""
    return opener(browser)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with two finished studies, "night" and "day", of the same simulated engine."""
    folder = tmp_path_factory.mktemp("recorded")
    url = f"sqlite:///{folder}/studies.db"
    file = folder / "study.yaml"
    file.write_text(
        "target: {simulated: {gpu: h100, model: llama-3.1-8b, baseline: {max_num_seqs: 2}}}\n"
        "workload: {prompt: 64, output: 16}\nslos: [ttft p95 <= 5s, itl p95 <= 100ms]\n"
        "objective: {kind: throughput, concurrency: 8}\nbudget: {starts: 10, pairs: 2}\n"
    )
    for seed, name in enumerate(("night", "day")):
        options = ("--yes", "--new", "--name", name, "--storage", url, "--seed", str(seed))
        # In a process of its own: Playwright has an event loop in this one.
        subprocess.run(
            command("start", "-f", str(file), *options), env=environment(folder), check=True, capture_output=True
        )
    return url


@pytest.fixture
def storage(recorded: str, tmp_path: Path) -> str:
    """A copy of it, to change."""
    return copy_of(recorded, tmp_path / "copy.db")


@pytest.fixture(scope="session")
def reading(recorded: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard that reads, for all tests."""
    home = tmp_path_factory.mktemp("home")
    with serving("--storage", recorded, variables=environment(home)) as made:
        yield made
