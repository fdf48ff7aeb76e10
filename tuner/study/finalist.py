"""Which configuration of the search is confirmed: as good as any for all that is known, and the smallest change."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tuner.core.knob import Candidate
from tuner.core.workload import Objective
from tuner.store import TrialKind, TrialRecord
from tuner.study.judge import better
from tuner.study.standing import baseline, incumbent


def finalist(
    trials: Sequence[TrialRecord], objective: Objective, noise: float, idle: Collection[str] = ()
) -> Candidate | None:
    """The configuration to confirm, None where nothing that differs from the baseline was better than it.

    Of those whose values lie within `noise` (relative, between starts) of the best, the one that changes the fewest
    knobs; `idle` knobs do nothing and stay as they were. A confirmation that has begun keeps its own.
    """
    first, best = baseline(trials), incumbent(trials)
    if first is None or first.verdict is None or best is None:
        return None
    for trial in trials:
        if trial.kind is TrialKind.CONFIRM and trial.candidate != first.candidate:
            return trial.candidate
    found: list[tuple[int, float, Candidate]] = []
    for trial in trials:
        if trial.kind is TrialKind.SEARCH and trial.verdict and better(trial.verdict, first.verdict):
            candidate = fewest_changes(trial.candidate, first, idle)
            changed, merit = _changed(candidate, first.candidate), _merit(trial, objective)
            if changed and merit * (1 + noise) >= _merit(best, objective):
                found.append((changed, -merit, candidate))
    return min(found, key=lambda one: one[:2], default=(0, 0.0, None))[2]


def fewest_changes(candidate: Candidate, first: TrialRecord, idle: Collection[str] = ()) -> Candidate:
    """`candidate` without what does nothing: what is exported is a small patch.

    The search names every knob; the baseline leaves some to the engine, which reported what it made of them. `idle`
    knobs are left as the baseline has them.
    """
    before, reported = first.candidate, first.reported
    named = {k: v for k, v in candidate.items() if k not in idle and (k in before or reported.get(k) != v)}
    return Candidate.of({**named, **{k: v for k, v in before.items() if k in idle}})


def _changed(candidate: Candidate, before: Candidate) -> int:
    return sum(candidate.get(name) != before.get(name) for name in {*candidate, *before})


def _merit(trial: TrialRecord, objective: Objective) -> float:
    """Minus infinity for what is not feasible."""
    verdict = trial.verdict
    return objective.merit(verdict.value) if verdict and verdict.feasible and verdict.value is not None else -math.inf
