"""Where a study stands: the baseline, the best, what is different about a trial, and what is recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tuner.core.knob import Candidate
from tuner.store import StudyRecord, TrialKind, TrialRecord
from tuner.study.claim import abandoned
from tuner.study.judge import better


def state_of(study: StudyRecord) -> str:
    """A study's state in one word, that nobody works on it any more included."""
    return "interrupted" if abandoned(study, datetime.now(UTC)) else study.state.value


def baseline(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The newest trial of the configuration that was found on the target: one that told nothing is run again."""
    return next((trial for trial in reversed(trials) if trial.kind is TrialKind.BASELINE), None)


def incumbent(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The best feasible trial of the search, the baseline included; never a failed or infeasible one."""
    best: TrialRecord | None = None
    for trial in trials:
        if trial.kind is TrialKind.CONFIRM or trial.recorded is None or trial.verdict is None:
            continue
        if trial.verdict.feasible and better(trial.verdict, best.verdict if best else None):
            best = trial
    return best


def recommended(study: StudyRecord) -> Mapping[str, Any] | None:
    """The knobs that a study recommends: its finalist, where the confirmation spoke for it; None: nothing."""
    result: Mapping[str, Any] = study.result or {}
    finalist: Mapping[str, Any] | None = result.get("finalist")
    return finalist if result.get("exportable") else None


def value_of(trial: TrialRecord | None) -> float | None:
    """A trial's objective value where it was feasible."""
    return trial.verdict.value if trial and trial.verdict and trial.verdict.feasible else None


def changes(trial: TrialRecord, first: TrialRecord | None) -> Candidate:
    """The knobs that a trial set to something else than the baseline ran with, as far as its engine reported it."""
    if first is None or trial.kind is TrialKind.BASELINE:
        return trial.candidate
    before = {**first.reported, **first.candidate}
    return Candidate.of({k: v for k, v in trial.candidate.items() if k not in before or before[k] != v})
