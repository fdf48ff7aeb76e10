"""The command line: in this process, because importing it anew takes a second, or as one of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tuner.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int | None
    out: str
    err: str


def call(*arguments: str) -> Said:
    """Run a command here, with nobody at the keyboard."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", ["tuner", *arguments]):
        try:
            main()
            code: int | None = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return Said(code, out.getvalue(), err.getvalue())


def environment(home: Path) -> Mapping[str, str]:
    """For a process: nobody's cluster, nobody's database."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}


def command(*arguments: str) -> Sequence[str]:
    """How a process is called."""
    return [sys.executable, "-m", "tuner", *arguments]


def signalled(number: signal.Signals, begins: str, *arguments: str, home: Path, after_s: float = 0.0) -> Said:
    """Run a command as a process, and send it a signal some time after it has printed a line that begins like this."""
    running = subprocess.Popen(
        command(*arguments),
        env=environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert any(line.startswith(begins) for line in running.stdout)
    time.sleep(after_s)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    return Said(running.returncode, out, err)
