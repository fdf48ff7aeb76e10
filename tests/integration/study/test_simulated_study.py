"""A whole study on the simulated target, through the command line, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuner.store import Phase, Store, TrialKind

STUDY = """
name: night
target: {simulated: {gpu: h100, model: llama-3.1-8b, seed: 3}}
workload: {prompt: 512, output: 32}
slos: [ttft p95 <= 500ms, itl p99 <= 50ms]
budget: {starts: 7, pairs: 2}
seed: 5
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tuner", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


@contextmanager
def running(study: Path, tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A study under way, its lines to be read; ended and closed at the end whatever happens."""
    arguments = command("start", "-f", str(study), "--storage", url(tmp_path), *options)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            yield process
        finally:
            process.kill()


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'tuner.db'}"


def test_a_study_finds_confirms_and_exports_a_better_configuration(study: Path, tmp_path: Path):
    done = run("start", "-f", str(study), "--storage", url(tmp_path), "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["conclusion"] == "better"
    low, high = report["interval"]
    assert 0 < low < report["gain"] < high
    trials = report["trials"]
    assert [t["kind"] for t in trials[:2]] == ["baseline", "search"]
    assert len([t for t in trials if t["outcome"] != "screened"]) <= 7
    searched = [t for t in trials if t["kind"] == "search"]
    assert len({json.dumps(t["candidate"], sort_keys=True) for t in searched}) == len(searched)
    assert all(t["phase"] == "told" for t in trials)
    # The prior is expected to find far more than the smallest gain here; the winner changes something.
    assert report["result"]["finalist"]

    flags = run("export", "night", "--storage", url(tmp_path), "-o", "flags")
    assert flags.returncode == 0, flags.stderr
    for name in report["result"]["finalist"]:
        assert name.replace("_", "-") in flags.stdout

    patch = run("export", "--storage", url(tmp_path), "-o", "strategic-merge")
    assert patch.returncode == 2
    assert "no Deployment" in patch.stderr
    listed = run("studies", "--storage", url(tmp_path))
    assert "night" in listed.stdout
    assert "finished" in listed.stdout


def test_the_same_seed_gives_the_same_study(study: Path, tmp_path: Path):
    reports = []
    for place in ("a", "b"):
        done = run("start", "-f", str(study), "--storage", url(tmp_path / place), "-o", "json")
        reports.append(json.loads(done.stdout))
    values = [[(t["candidate"], t["value"], t["margins"]) for t in report["trials"]] for report in reports]
    assert values[0] == values[1]


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_killed_study_goes_on_without_losing_or_repeating_a_trial(study: Path, tmp_path: Path, after: int):
    with running(study, tmp_path) as first:
        for line in first.stdout:
            if line.split()[:2] == ["trial", str(after + 1)]:
                break
        first.send_signal(signal.SIGKILL)
    with Store.open(url(tmp_path)) as store:
        before = {t.number: t for t in store.trials(1)}
    assert len(before) > after
    assert json.loads(run("show", "--storage", url(tmp_path), "-o", "json").stdout)["state"] == "interrupted"

    done = run("start", "-f", str(study), "--storage", url(tmp_path), "-o", "json")
    assert done.returncode == 0, done.stderr
    with Store.open(url(tmp_path)) as store:
        assert len(store.studies()) == 1
        trials = store.trials(1)
    assert [t.number for t in trials] == list(range(len(trials)))
    for number, trial in before.items():
        again = trials[number]
        assert again.candidate == trial.candidate
        if trial.recorded:
            assert (again.recorded, again.verdict) == (trial.recorded, trial.verdict)
    assert all(t.phase is Phase.TOLD for t in trials)
    assert sum(t.kind is TrialKind.BASELINE for t in trials) == 1


def test_two_processes_on_one_study_do_not_collide(study: Path, tmp_path: Path):
    with running(study, tmp_path, "--starts", "40") as first:  # so many that it does not end meanwhile
        next(line for line in first.stdout if line.startswith("trial "))
        second = run("start", "-f", str(study), "--storage", url(tmp_path))
        assert second.returncode == 3, second.stderr
        assert "is being worked on by" in second.stderr
        assert first.poll() is None


def test_an_impossible_promise_ends_without_a_winner(study: Path, tmp_path: Path):
    began = time.monotonic()
    done = run("start", "-f", str(study), "--storage", url(tmp_path), "--slo", "ttft p95 <= 1ms", "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["conclusion"] == "no change"
    assert report["result"]["reason"] == "no configuration met the SLOs"
    assert all(t["outcome"] in ("infeasible", "uncertain", "failed", "screened") for t in report["trials"])
    assert time.monotonic() - began < 60
    refused = run("export", "--storage", url(tmp_path), "-o", "flags")
    assert refused.returncode == 3
    assert "no change" in refused.stderr
