"""tuner held still at a named point, so that something else can happen there: what makes a race certain."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.support.command import Point, Ran, Tuner, end_session


@dataclass(frozen=True)
class Paused:
    """A command that stands still until it is told to go on."""

    process: subprocess.Popen[str]
    points: Path

    def go_on(self) -> None:
        """Let it run."""
        self.process.send_signal(signal.SIGCONT)

    def finish(self, timeout_s: float = 120) -> Ran:
        """Let it run to its end."""
        self.go_on()
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            end_session(self.process)
            out, err = self.process.communicate()
            raise AssertionError(f"not done after {timeout_s:g} s\n{out[-4000:]}\n{err[-4000:]}") from None
        passed = tuple(Point.parse(line) for line in self.points.read_text().splitlines())
        return Ran(self.process.returncode, out, err, passed)


@contextmanager
def paused(tuner: Tuner, *arguments: str, at: str, timeout_s: float = 60) -> Iterator[Paused]:
    """The command once it stands still at a point ("after PATCH deployments start 1")."""
    points = tuner.folder / "points"
    process = tuner.start(*arguments, kill=Point.parse(at), by=signal.SIGSTOP, points=points)
    try:
        _wait_stopped(process, at, time.monotonic() + timeout_s)
        yield Paused(process, points)
    finally:
        end_session(process)
        process.communicate()


def _wait_stopped(process: subprocess.Popen[str], at: str, end: float) -> None:
    while True:
        number, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED)
        if number and os.WIFSTOPPED(status):
            return
        if number:
            process.returncode = os.waitstatus_to_exitcode(status)
            out, err = process.communicate()
            raise AssertionError(f"ended with {process.returncode} before {at}\n{out[-4000:]}\n{err[-4000:]}")
        if time.monotonic() > end:
            end_session(process)
            raise AssertionError(f"{at} was not passed in time")
        time.sleep(0.05)
