"""What a running study tells whoever watches it: plain events, so that the terminal, logs and pages show the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuner.core.cause import Failure
from tuner.core.knob import Candidate
from tuner.core.measurement import Level, Verdict
from tuner.store import TrialRecord
from tuner.study.budget import Ledger
from tuner.study.standing import baseline, changes, incumbent, value_of


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


def began(trial: TrialRecord, trials: Sequence[TrialRecord], reason: str) -> TrialBegan:
    """The event that a trial begins."""
    changed = changes(trial, baseline(trials))
    return TrialBegan(trial.number, trial.kind, trial.candidate, changed, reason)


def ended(trial: TrialRecord, trials: Sequence[TrialRecord], ledger: Ledger) -> TrialEnded:
    """The event that a trial is on record."""
    limit = ledger.budget.gpu_minutes
    return TrialEnded(
        number=trial.number,
        kind=trial.kind,
        candidate=trial.candidate,
        changed=changes(trial, baseline(trials)),
        verdict=trial.verdict,
        failure=trial.failure,
        screened=trial.screened,
        incumbent=value_of(incumbent(trials)),
        baseline=value_of(baseline(trials)),
        starts_left=max(0, ledger.budget.starts - ledger.starts - ledger.killed),
        gpu_minutes_left=None if limit is None else limit - ledger.gpu_s / 60,
    )
