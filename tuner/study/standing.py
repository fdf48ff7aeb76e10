"""Where a study stands: the baseline, the best, what is different about a trial, and what is recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tuner.core.knob import Candidate
from tuner.core.measurement import Answer
from tuner.core.workload import ObjectiveKind
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


def proven_rates(study: StudyRecord, trials: Sequence[TrialRecord]) -> tuple[float | None, float] | None:
    """The rates (requests/s) at which every SLO was shown to hold: of what was found (None: none), and of the winner.

    Each is the least of its fresh starts. None where nothing is recommended, or a capacity was not what was asked for.
    """
    winner, first = recommended(study), baseline(trials)
    if winner is None or first is None or study.spec["objective"]["kind"] != ObjectiveKind.CAPACITY:
        return None
    after = _least_rate(trials, winner)
    return None if after is None else (_least_rate(trials, first.candidate), after)


def _least_rate(trials: Sequence[TrialRecord], candidate: Mapping[str, Any]) -> float | None:
    starts = [
        one.summary
        for one in trials
        # One that failed for infrastructure was made again.
        if one.kind is TrialKind.CONFIRM and one.verdict is not None and dict(one.candidate) == dict(candidate)
    ]
    rates = [one.load.rate for one in starts if one is not None and one.answer is Answer.PASS and one.load.rate]
    return min(rates) if rates and len(rates) == len(starts) else None


def changes(trial: TrialRecord, first: TrialRecord | None) -> Candidate:
    """The knobs that a trial set to something else than the baseline ran with, as far as its engine reported it."""
    if first is None or trial.kind is TrialKind.BASELINE:
        return trial.candidate
    before = {**first.reported, **first.candidate}
    return Candidate.of({k: v for k, v in trial.candidate.items() if k not in before or before[k] != v})
