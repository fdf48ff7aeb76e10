"""What a running study tells whoever watches it: plain events, so that the terminal, logs and pages show the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tuner.core.cause import Failure
from tuner.core.knob import Candidate
from tuner.core.measurement import Level, Verdict


@dataclass(frozen=True)
class Note:
    """One sentence for the user."""

    text: str


@dataclass(frozen=True)
class TrialBegan:
    """A trial has been given its number. `changed` is what its candidate sets otherwise than the baseline."""

    number: int
    kind: str
    candidate: Candidate
    changed: Candidate
    reason: str


@dataclass(frozen=True)
class PhaseBegan:
    """A trial has entered a phase; `detail` is what the target says of its progress inside it."""

    number: int
    phase: str
    detail: str = ""


@dataclass(frozen=True)
class LevelEnded:
    """One load has been held until its answer was known."""

    number: int
    level: Level


@dataclass(frozen=True)
class TrialEnded:
    """A trial is on record. `incumbent` and `baseline` are the best feasible value so far and the baseline's."""

    number: int
    kind: str
    candidate: Candidate
    changed: Candidate
    verdict: Verdict | None
    failure: Failure | None
    screened: bool
    incumbent: float | None
    baseline: float | None
    starts_left: int
    gpu_minutes_left: float | None


Event = Note | TrialBegan | PhaseBegan | LevelEnded | TrialEnded
Observer = Callable[[Event], None]
