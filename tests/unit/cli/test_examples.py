"""Every study and every command that the documentation shows is one that tuner takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tuner.cli import study_options
from tuner.cli.main import _COMMANDS, _load
from tuner.search import load_space
from tuner.standin.arguments import parse
from tuner.standin.options import split_options
from tuner.study.lengths import refuse_too_long
from tuner.study.place import simulated
from tuner.study.spec import SimulatedSpec, StudySpec, load_spec
from tuner.study.spec.fields import hardware

ROOT = Path(__file__).parents[3]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md")), *STUDIES]
NOW = datetime(2026, 1, 1, tzinfo=UTC)  # times of day in examples are of that year


def _short_targets() -> Iterator[tuple[str, str]]:
    """`h100/llama-3.1-8b` and its like, also where tuner's own messages show them."""
    for page in [*PAGES, *sorted((ROOT / "tuner").rglob("*.py"))]:
        for text in sorted(set(re.findall(r"\b(?:\d+x)?(?:[hH][12]00|[aA]100|[lL]4)/[\w.-]*\w", page.read_text()))):
            yield page.name, text


def _studies() -> Iterator[tuple[str, str]]:
    """YAML blocks that are studies, and the study files."""
    for page in PAGES:
        text = page.read_text()
        found = [text] if page in STUDIES else re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        yield from ((page.name, one) for one in found if "target" in (YAML(typ="safe").load(one) or {}))


def _commands() -> Iterator[tuple[str, str]]:
    """`tuner ...` on lines of its own, less the words of explanation behind it."""
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text())
        for found in re.findall(r"^(?: {4})?tuner ((?:[\w-]+ +(?=-))?(?:\S| (?! ))+)", text, re.MULTILINE):
            if found.split()[0] in _COMMANDS:  # not prose, whose subject is tuner
                yield page.name, re.split(r" [|>#] ?", found)[0].strip()


def _mentions() -> Iterator[tuple[str, str]]:
    """`tuner ...` within a line: a command, or as much of it as is spoken of."""
    for page in PAGES:
        for found in re.findall(r"`tuner ([^`]+)`", re.sub(r"\n(?:# )?", " ", page.read_text())):
            yield page.name, found


def _each(found: Iterator[tuple[str, str]]) -> list[Any]:
    return [pytest.param(text, id=f"{page}: {text.splitlines()[0]}") for page, text in dict.fromkeys(found)]


async def _must_be_startable(spec: StudySpec) -> None:
    """As far as that is known without a cluster."""
    if spec.target.simulated is None:
        return
    target = simulated(spec.target.simulated)  # raises where the planner finds that the baseline does not start
    info = await target.inspect()
    space = load_space(spec.engine, info, edits=spec.search.knobs)
    refuse_too_long(spec.core_workload(), info, space)


@pytest.mark.parametrize("text", _each(_short_targets()))
def test_a_short_target_starts(text: str) -> None:
    simulated(SimulatedSpec.model_validate(hardware(text)))


@pytest.mark.parametrize("text", _each(_studies()))
async def test_a_study_loads_and_can_be_started(text: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    for data in (ROOT / "studies").glob("*.jsonl"):  # what a study file names lies beside it
        (tmp_path / data.name).write_text(data.read_text())
    await _must_be_startable(load_spec(file, {}, now=NOW))


@pytest.mark.parametrize("command", _each(chain(_commands(), _mentions())))
async def test_a_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *arguments = shlex.split(command)
    if name not in _COMMANDS or not arguments or arguments == ["--force"]:
        return  # a word for it, or of it
    if name == "engine-sim":
        parse(split_options(arguments, {})[1])
        return
    given = _load(name).make_context(name, arguments).params
    if name in ("start", "plan"):
        others = ("new", "yes", "output", "set_", "first", *(["storage"] if name == "plan" else []))
        spec = load_spec(given["file"], study_options.given(given, *others), now=NOW)
        await _must_be_startable(spec)


def test_the_examples_are_found() -> None:
    assert {page for page, _ in _studies()} == {"spec.md", *(path.name for path in STUDIES)}
    assert {command.split()[0] for _, command in _commands()} >= set(_COMMANDS)
    assert (
        "README.md",
        "start  -n inference --until 3h --slo 'ttft p95 <= 500ms' --slo 'itl p99 <= 50ms'",
    ) in _commands()
    assert {page for page, _ in _short_targets()} >= {"spec.md", "cli.md", "simulator.md"}
