"""Turns a measurement, or a failure, into the verdict by which trials are compared. The only place that knows signs."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.core.cause import Failure
from tuner.core.measurement import Answer, Level, Measurement, Verdict
from tuner.core.slo import Slo

# One SLO counts at most this much: beyond six times its bound nothing more is learnt from "how far over".
WORST_VIOLATION = 5.0
# What a level did not prove counts as violated, also where the point estimate is within the bound.
LEAST_VIOLATION = 1e-3
_MISSING_EVIDENCE = 1.0
# What a level misses that kept every SLO for as long as it lasted, while what waited in the engine grew.
_KEEPING_UP = "keeping up with the load"
# A failed start ranks below every measured configuration, so this exceeds the most that a level can add up to.
_FAILURE = 100.0


def judge(measurement: Measurement, slos: Sequence[Slo]) -> Verdict:
    """The verdict on a measurement: feasible with its value, or infeasible with graded violations.

    A candidate that was cut short below the incumbent's rate is infeasible *at that rate*: its violations there say how
    far it missed, and its value stays unknown (`Measurement.value_high` bounds it).
    """
    level = measurement.level
    violations = {str(slo): _violation(level, slo) for slo in slos}
    passed = measurement.value is not None and level.answer is Answer.PASS
    if not passed and max(violations.values(), default=0.0) <= 0:
        violations |= _unproven(level, violations)
    return Verdict(
        value=measurement.value if passed else None,
        violations={name: min(v, 0.0) for name, v in violations.items()} if passed else violations,
        certain=level.answer is not Answer.UNCERTAIN,
    )


def judge_failure(failure: Failure, slos: Sequence[Slo]) -> Verdict:
    """The verdict on a trial without a measurement: no evidence for any SLO, and a grade by overshoot."""
    grade = _FAILURE + min(max(failure.overshoot or 0.0, 0.0), 10.0)
    return Verdict(None, {**{str(slo): _MISSING_EVIDENCE for slo in slos}, "failure": grade}, failure)


def better(a: Verdict, b: Verdict | None) -> bool:
    """Whether `a` ranks strictly above `b` (anything ranks above nothing)."""
    return b is None or a.rank > b.rank


def _violation(level: Level, slo: Slo) -> float:
    for test in level.tests:
        if test.slo == str(slo):
            return max(-1.0, min(test.violation, WORST_VIOLATION))
    return _MISSING_EVIDENCE


def _unproven(level: Level, violations: dict[str, float]) -> dict[str, float]:
    """What kept a level from passing that is within all its bounds: the worst SLO of those that are not proven."""
    if not level.steady:
        return {_KEEPING_UP: max(LEAST_VIOLATION, min(level.overload, WORST_VIOLATION))}
    proven = {test.slo for test in level.tests if test.answer is Answer.PASS}
    doubtful = [name for name in violations if name not in proven] or list(violations)
    if not doubtful:
        return {"no level passed": _MISSING_EVIDENCE}
    return {max(doubtful, key=lambda name: violations[name]): LEAST_VIOLATION}
