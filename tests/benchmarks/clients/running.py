"""Runs one client against one stub, each on a core of its own where there are two."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tests.benchmarks.clients.job import Job, Told
from tests.benchmarks.clients.stamps import Served, paired, read_log

ROOT = Path(__file__).parents[3]
_LONGEST_S = 480.0
_SAMPLE_S = 0.25
_NICENESS = -10
_CORES = sorted(os.sched_getaffinity(0))


class Unavailable(Exception):
    """A client that can't be installed or driven here; says why."""


class Client(Protocol):
    """A load client, driven as a process of its own.

    `long_s` are the seconds of stream by which its cost is told: more where its start-up, which takes seconds of the
    processor and never the same, is in what is counted.
    """

    name: str
    long_s: float

    def prepare(self) -> None:
        """Install what it needs. Raises Unavailable."""
        ...

    def command(self, job: Job) -> Sequence[str]:
        """How to start it."""
        ...

    def environment(self) -> Mapping[str, str]:
        """What to add to its environment."""
        ...

    def told(self, job: Job) -> list[Told]:
        """What it reported."""
        ...


@dataclass(frozen=True)
class Ran:
    """One run of a client. `cpu_s` is the processor time of its processes, from their starts to their ends.

    An adapter of ours tells that of its client in `parts`, without what its own report takes. `sampled` are times of
    CLOCK_MONOTONIC and the processor seconds until then of all processes that lived then.
    """

    pairs: tuple[tuple[Served, Told], ...]
    cpu_s: float
    parts: Mapping[str, float]
    sampled: tuple[tuple[float, float], ...]

    def busy(self, begin_s: float, end_s: float) -> float:
        """Processor seconds per second between these times."""
        times, spent = zip(*self.sampled, strict=True)
        begin, end = np.interp([begin_s, end_s], times, spent)
        return float(end - begin) / (end_s - begin_s)


def run(client: Client, interval_s: float, slots: int, requests: int, tokens: int, rate: float | None) -> Ran:
    """One run: all requests at once, or `rate` a second. Raises ValueError where a stream did not go to its end."""
    with tempfile.TemporaryDirectory(prefix="client-") as name:
        folder = Path(name)
        log = folder / "stub.jsonl"
        with _stub(interval_s, slots, log) as endpoint:
            job = Job(endpoint, requests, tokens, rate, folder)
            cpu_s, sampled = _watched(client, job)
        pairs = paired(read_log(log, interval_s), client.told(job), tokens)
        parts = _parts(folder / "output")
        return Ran(tuple(pairs), sum(parts.values()) or cpu_s, parts, sampled)


@contextlib.contextmanager
def _stub(interval_s: float, slots: int, log: Path) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("stub.py")), str(round(interval_s * 1e9)), str(slots)]
    with subprocess.Popen(
        [*command, str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: _settle(_CORES[0]),
        start_new_session=True,
        text=True,
    ) as stub:
        assert stub.stdout is not None
        yield f"http://127.0.0.1:{stub.stdout.readline().strip()}"


def _watched(client: Client, job: Job) -> tuple[float, tuple[tuple[float, float], ...]]:
    before = _spent_by_children()
    sampled = []
    favoured: set[int] = set()
    with (job.folder / "output").open("wb") as output:
        process = subprocess.Popen(
            client.command(job),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=job.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **client.environment()},
            preexec_fn=lambda: _settle(_CORES[-1]),
            start_new_session=True,
        )
    end_s = time.monotonic() + _LONGEST_S
    while process.poll() is None:
        tree = set(_tree(process.pid))
        sampled.append((time.monotonic(), sum(map(_spent_by, tree))))
        for pid in tree - favoured:
            _favour(pid)
        favoured |= tree
        if sampled[-1][0] > end_s:
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SAMPLE_S)
    if process.returncode:
        words = (job.folder / "output").read_text(errors="replace").strip()[-2000:]
        raise ValueError(f"{client.name} ended with exit code {process.returncode}: {words}")
    return _spent_by_children() - before, tuple(sampled)


def _settle(core: int) -> None:
    """Keep this process and what it starts on one core, ahead of whatever else runs there where that is allowed."""
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    _favour(os.getpid())


def _favour(pid: int) -> None:
    """Let the niceness of a process count beyond its own session, where the kernel makes a group of each session."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS))


def _parts(output: Path) -> dict[str, float]:
    *_, last = ["", *output.read_text(errors="replace").splitlines()]
    try:
        found = json.loads(last)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _spent_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _spent_by(pid: int) -> float:
    # The processor clock of another process, as clock_getcpuclockid(3) names it: unlike /proc, it does not count ticks.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0
