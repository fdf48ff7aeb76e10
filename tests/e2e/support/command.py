"""tuner as its users run it: a process of its own, killed at a named point or by a signal where a test asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.support.cluster import ROOT

_KILLABLE = Path(__file__).with_name("killable.py")


# A probe that waits for its turn voids its level, and an engine on CPU takes all there is: what measures goes first.
_FIRST = ("nice", "-n", "-10") if os.geteuid() == 0 else ()


@dataclass(frozen=True)
class Point:
    """A passage of a named point, e.g. Point("after", "PATCH deployments", 2): once the second patch was answered."""

    when: str  # before, after
    what: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.what} {self.nth}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """The inverse of str()."""
        when, rest = text.strip().split(" ", 1)
        what, nth = rest.rsplit(" ", 1)
        return cls(when, what, int(nth))


@dataclass(frozen=True)
class Ran:
    """One run of the command: how it ended, what it said, which points it passed."""

    code: int  # negative: the signal
    out: str
    err: str
    points: tuple[Point, ...]

    @property
    def killed(self) -> bool:
        """Whether it died by SIGKILL."""
        return self.code == -signal.SIGKILL

    def succeeded(self) -> Ran:
        """Itself, where the command ended well; else fails with what it said."""
        assert self.code == 0, f"exit code {self.code}\n{self.out[-4000:]}\n{self.err[-4000:]}"
        return self


@dataclass(frozen=True)
class Tuner:
    """The command with an environment of its own; `folder` is where it runs and keeps its database."""

    kubeconfig: Path
    folder: Path

    def start(
        self,
        *arguments: str,
        kill: Point | None = None,
        by: signal.Signals = signal.SIGKILL,
        points: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start the command in a session of its own, so that nothing of it outlives a test."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "default",
            "NO_COLOR": "1",
            "COLUMNS": "160",
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        if kill:
            environment |= {"TUNER_E2E_KILL": str(kill), "TUNER_E2E_SIGNAL": by.name}
        if points:
            environment["TUNER_E2E_POINTS"] = str(points)
        return subprocess.Popen(
            [*_FIRST, sys.executable, str(_KILLABLE), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        *arguments: str,
        kill: Point | None = None,
        by: signal.Signals = signal.SIGKILL,
        timeout_s: float = 120,
        meanwhile: Callable[[subprocess.Popen[str]], None] | None = None,
    ) -> Ran:
        """Run the command to its end; at `kill` it gets the signal `by`. `meanwhile` runs beside it."""
        with tempfile.NamedTemporaryFile(prefix="points-", dir=self.folder, mode="r") as points:
            process = self.start(*arguments, kill=kill, by=by, points=Path(points.name))
            try:
                if meanwhile:
                    meanwhile(process)
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                end_session(process)
                out, err = process.communicate()
                raise AssertionError(f"not done after {timeout_s:g} s\n{out[-4000:]}\n{err[-4000:]}") from None
            finally:
                end_session(process)
            passed = tuple(Point.parse(line) for line in Path(points.name).read_text().splitlines())
        return Ran(process.returncode, out, err, passed)


def end_session(process: subprocess.Popen[str]) -> None:
    """End what the command started, and the command itself where it still runs."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
