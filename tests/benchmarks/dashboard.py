"""The dashboard over a study of 1,000 trials, and watched by 100: `python -m tests.benchmarks.dashboard`.

The trials are those of a real study of a simulated engine, over and over with their values varied. Pages are asked for
one after another over HTTP of a process of its own: seconds until the whole answer, and bytes as they travel and as
they are. Watchers follow a study into which something is entered every two seconds for half a minute; what they cost
is the processor time of the server's process, less that of the same time with nobody watching. About three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.benchmarks.ground import publish
from tests.support.command_line import call
from tests.support.dashboard import serving
from tuner.core.knob import Candidate
from tuner.store import Phase, Store, StudyRecord, StudyState, TrialKind, TrialRecord

TRIALS = 1000
USUAL = 20
WATCHERS = 100
WATCHED_S = 30.0
_ROUNDS = 15
_HOLDER = "benchmark:1:x"


def recorded(folder: Path) -> str:
    """A database with one real study to take trials from; its URL."""
    url = f"sqlite:///{folder}/studies.db"
    file = folder / "study.yaml"
    file.write_text(
        "name: real\ntarget: {simulated: {gpu: l4, model: llama-3.1-8b, baseline: {max_num_seqs: 16}}}\n"
        "workload: {prompt: 256, output: 64}\nslos: [ttft p95 <= 2s, itl p95 <= 100ms]\n"
        "budget: {starts: 16, pairs: 2}\n"
    )
    said = call("start", "-f", str(file), "--yes", "--storage", url)
    assert said.code == 0, said
    return url


def multiply(store: Store, name: str, count: int) -> StudyRecord:
    """A study of this name that runs, of `count` trials like those of the first."""
    first = store.studies()[0]
    measured = [trial for trial in store.trials(first.id) if trial.measurement is not None]
    study = store.create_study(name=name, spec=first.spec, target=first.target, info=first.info, now=_at(0))
    store.claims.take(study.id, _HOLDER, datetime.now(UTC), 3600)
    store.set_state(study.id, StudyState.SEARCHING, "", _at(0), by=_HOLDER)
    rng = random.Random(1)
    for number in range(count):
        add(store, study.id, measured[0] if number == 0 else rng.choice(measured), number, rng)
    return study


def add(store: Store, study_id: int, like: TrialRecord, number: int, rng: random.Random) -> None:
    """Enter one more trial."""
    now = _at(number)
    candidate = Candidate.of({**like.candidate, "max_num_seqs": rng.choice((8, 16, 32, 64, 128, 256))})
    kind = TrialKind.BASELINE if number == 0 else TrialKind.SEARCH
    trial = store.add_trial(study_id, kind=kind, candidate=candidate, reason="like another", ticket=None, now=now)
    for step, phase in enumerate((Phase.SCREENING, Phase.STARTING, Phase.WARMING_UP, Phase.PROBING, Phase.JUDGING)):
        store.enter_phase(trial.id, phase, now + timedelta(seconds=10 * step))
    verdict = like.verdict
    if verdict is not None and verdict.value is not None:
        verdict = replace(verdict, value=verdict.value * rng.uniform(0.8, 1.2))
    store.record(
        trial.id,
        verdict=verdict,
        measurement=like.measurement,
        facts=like.facts,
        start_s=40.0,
        probe_s=80.0,
        gpu_s=120.0,
        now=now + timedelta(seconds=60),
    )


def _at(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=120 * number)


def pages(address: str, paths: Sequence[str]) -> list[list[str]]:
    """Each page's milliseconds the first time, and in the median and at most of later ones; and its weight."""
    rows = []
    with httpx.Client(base_url=address, timeout=60) as client:
        for path in paths:
            answers = [_timed(client, path) for _ in range(1 + _ROUNDS)]
            (first, answer), later = answers[0], [took for took, _ in answers[1:]]
            travelled = int(answer.headers.get("content-length") or answer.num_bytes_downloaded)
            times = (f"{1e3 * took:.0f}" for took in (first, statistics.median(later), max(later)))
            rows.append([path, *times, *(f"{size / 1000:.0f}" for size in (travelled, len(answer.content)))])
    return rows


def _timed(client: httpx.Client, path: str) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    answer = client.get(path)
    took = time.perf_counter() - began
    answer.raise_for_status()
    return took, answer


async def watched(address: str, pid: int, store: Store, study_id: int, watchers: int) -> tuple[float, int]:
    """Share of one core that the server takes while so many watch, and how many messages they got."""
    got = [0] * watchers
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=None, limits=limits) as client:
        tasks = [asyncio.create_task(_watch(client, study_id, got, at)) for at in range(watchers)]
        await asyncio.sleep(2)
        before, began = _cpu_s(pid), time.monotonic()
        await asyncio.to_thread(_enter, store, study_id, began + WATCHED_S)
        share = (_cpu_s(pid) - before) / (time.monotonic() - began)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return share, sum(got)


async def _watch(client: httpx.AsyncClient, study_id: int, got: list[int], at: int) -> None:
    async with client.stream("GET", f"/studies/{study_id}/live") as answer:
        async for line in answer.aiter_lines():
            got[at] += not line  # an empty line ends a message


def _enter(store: Store, study_id: int, until: float) -> None:
    """What a study enters: a phase every two seconds, in a trial of its own."""
    trial = store.add_trial(
        study_id, kind=TrialKind.SEARCH, candidate=Candidate(), reason="watched", ticket=None, now=datetime.now(UTC)
    )
    while time.monotonic() < until:
        store.enter_phase(trial.id, Phase.PROBING, datetime.now(UTC))
        time.sleep(2)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/results.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        url = recorded(Path(folder))
        with Store.open(url) as store:
            large, small = multiply(store, "large", TRIALS), multiply(store, "usual", USUAL)
            with serving("--storage", url) as served:
                address, pid = served.url, served.process.pid
                paths = ["/", "/studies/1", f"/studies/{large.id}", f"/studies/{large.id}/trials/500"]
                paths.append(f"/api/v1/studies/{large.id}")
                shown = pages(address, paths)
                watching = []
                for study, name in ((small, f"of {USUAL} trials"), (large, f"of {TRIALS} trials")):
                    for watchers in (1, WATCHERS):
                        share, got = asyncio.run(watched(address, pid, store, study.id, watchers))
                        watching.append([name, str(watchers), f"{share:.1%}", str(got)])
                        print(watching[-1], file=sys.stderr)
    publish(
        "dashboard pages",
        "Pages of the dashboard",
        ["page", "first ms", "median ms", "max ms", "kB sent", "kB"],
        shown,
        write=options.write,
    )
    publish(
        "dashboard watchers",
        "Watching a study",
        ["study", "watchers", "of one core", "messages"],
        watching,
        write=options.write,
    )


if __name__ == "__main__":
    main()
