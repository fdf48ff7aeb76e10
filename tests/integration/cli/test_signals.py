"""A study that is stopped by a signal ends with 128 + the signal, and the same command goes on with it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import call, command, environment, signalled

# Long enough to be caught in the middle.
STUDY = ("start", "--simulated", "h100/llama-3.1-8b", "--starts", "40", "--storage", "sqlite:///t.db", "--yes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_study_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    said = signalled(number, "trial   0    warming-up", *STUDY, home=tmp_path)
    assert said.code == 128 + number
    assert "stopping: everything is being put back" in said.out
    assert "the target is as it was found" in said.out
    assert said.err == "tuner: stopped; everything was put back\n"
    shown = json.loads(call("show", "--storage", f"sqlite:///{tmp_path}/t.db", "-o", "json").out)
    assert shown["state"] == "stopped"
    assert shown["trials"][0]["outcome"] == "unfinished"


def test_a_terminal_that_goes_away_stops_the_study_like_a_signal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command(*STUDY)],
        env=environment(tmp_path),
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while b"trial   0" not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)  # hangs up: SIGHUP, and nothing can be written any more
    assert running.wait(timeout=30) == 128 + signal.SIGHUP
    shown = json.loads(call("show", "--storage", f"sqlite:///{tmp_path}/t.db", "-o", "json").out)
    assert (shown["state"], shown["detail"]) == ("stopped", "stopped by the user")
