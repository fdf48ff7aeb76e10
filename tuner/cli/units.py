"""The one place where values become text for people."""

from __future__ import annotations

from tuner.core.measurement import Level, Statistic
from tuner.core.workload import Count, Objective, ObjectiveKind


def seconds(value: float) -> str:
    """A latency with three significant digits and a fitting unit."""
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def duration(value: float) -> str:
    """A time span for people: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def objective_value(value: float | None, objective: Objective) -> str:
    """An objective's value with its unit; an em dash where there is none."""
    if value is None:
        return "—"
    if objective.kind is ObjectiveKind.HEADROOM:
        return f"{value:.3g} x headroom"
    return f"{value:,.4g} {'req/s' if objective.count is Count.REQUESTS else objective.count.value}"


def gain(value: float | None, baseline: float | None) -> str:
    """`value` against `baseline` as a signed percentage; empty where there is nothing to compare."""
    return f"{value / baseline - 1:+.1%}" if value and baseline else ""


def level(one: Level) -> str:
    """One level on one line: load, answer and what decided it."""
    tests = ", ".join(
        f"{test.slo} {'?' if test.observed is None else _observed(test.slo, test.observed)}" for test in one.tests
    )
    errors = f", errors: {dict(one.errors)}" if one.errors else ""
    return f"{one.load}: {one.answer.value} ({one.requests} requests; {tests}{errors})"


def statistic(one: Statistic) -> str:
    """p50 / p95 / p99 of a latency."""
    return " / ".join(seconds(value) for value in (one.p50, one.p95, one.p99))


def _observed(slo: str, value: float) -> str:
    return f"is {value:.2%}" if slo.startswith("error") else f"is {seconds(value)}"
