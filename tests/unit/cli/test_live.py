"""The live view: a panel that fits its terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import termios

import pytest
from rich.console import Console

from tuner.cli.live import LiveView
from tuner.core.cause import Cause, Failure
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.core.workload import Count, Objective, ObjectiveKind
from tuner.study.progress import Event, Note, PhaseBegan, TrialBegan, TrialEnded

OBJECTIVE = Objective(ObjectiveKind.CAPACITY, Count.OUTPUT_TOKENS, None, None)
CANDIDATE = Candidate.of(max_num_seqs=128, max_num_batched_tokens=1024, gpu_memory_utilization=0.92, block_size=16)
CHANGED = Candidate.of(max_num_seqs=128, max_num_batched_tokens=1024)


def _ended(verdict: Verdict | None = None, failure: Failure | None = None, *, screened: bool = False) -> TrialEnded:
    return TrialEnded(7, "search", CANDIDATE, CHANGED, verdict, failure, screened, 2614.0, 1037.0, 5, 12.5)


EVENTS: list[Event] = [
    TrialBegan(7, "search", CANDIDATE, CHANGED, "the simulator's choice no. 1"),
    PhaseBegan(7, "starting"),
    PhaseBegan(7, "starting", "loading model"),
    PhaseBegan(7, "warming-up"),
    _ended(Verdict(2614.0, {"ttft p95 <= 500ms": -0.3})),
    Note("the target is as it was found"),
]


def _seen(events: list[Event], *, terminal: bool = False, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, _environ={})
    with LiveView(console, OBJECTIVE, "tuning inference/[a-very-long-name-of-a-deployment]") as view:
        for event in events:
            view(event)
        if terminal:
            console.print(view._panel())
    return out.getvalue()


def test_a_pipe_gets_one_plain_line_per_event() -> None:
    lines = _seen(EVENTS, width=20).splitlines()
    assert lines == [
        "trial   7  search    max_num_batched_tokens=1024 max_num_seqs=128  [the simulator's choice no. 1]",
        "trial   7    loading model",
        "trial   7    warming-up",
        "trial   7  search    2,614 output-tokens/s  +152%  max_num_batched_tokens=1024 max_num_seqs=128",
        "the target is as it was found",
    ]


@pytest.mark.parametrize("width", [40, 80, 140])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, no_color=True, color_system=None, _environ={})
    view = LiveView(console, OBJECTIVE, "tuning inference/[a-very-long-name-of-a-deployment]")
    for event in EVENTS:
        view(event)
    console.print(view._panel())
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_the_panel_says_what_is_left_and_how_the_best_compares() -> None:
    seen = _seen(EVENTS, terminal=True)
    for expected in ("5 starts, 12.5 GPU-minutes", "1,037 output-tokens/s", "2,614 output-tokens/s", "+152%"):
        assert expected in seen


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (_ended(Verdict(None, {"ttft p95 <= 500ms": 0.25, "itl p99 <= 50ms": -0.1})), "misses ttft p95 by 25%"),
        (_ended(Verdict(None, {"ttft p95 <= 500ms": 5.0})), "misses ttft p95 by over 500%"),
        (_ended(Verdict(None, {"itl p99 <= 50ms": 1e-3})), "misses itl p99 (not certain)"),
        (_ended(None, Failure(Cause.GPU_OOM_AT_START, "CUDA out of memory")), "gpu-oom-at-start: CUDA out of memory"),
        (_ended(None, Failure(Cause.GPU_OOM_AT_START, "no room"), screened=True), "screened: no room"),
        (_ended(), "not finished"),
    ],
)
def test_a_trial_that_missed_says_what_and_by_how_much(event: TrialEnded, expected: str) -> None:
    assert expected in _seen([event])


def test_a_quiet_view_prints_nothing() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out), OBJECTIVE, "x", quiet=True) as view:
        for event in EVENTS:
            view(event)
    assert out.getvalue() == ""


def test_ctrl_c_is_not_shown_amid_the_panel_and_the_terminal_is_given_back_as_it_was() -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    seen = b""
    with os.fdopen(theirs, "w") as screen:
        with LiveView(Console(file=screen, force_terminal=True, width=80), OBJECTIVE, "tuning"):
            os.write(ours, b"\x03@")  # the second key is shown, and then the first one would have been
            while b"@" not in seen or b"tuning" not in seen:
                seen += os.read(ours, 4096)
        assert termios.tcgetattr(theirs) == before
    os.close(ours)
    assert b"^C" not in seen
