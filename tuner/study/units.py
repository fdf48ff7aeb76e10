"""The one place where values become text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tuner.core.knob import Value, as_text
from tuner.core.measurement import Level, SloTest, Statistic
from tuner.core.request import UNFINISHED
from tuner.core.workload import Count, Objective, ObjectiveKind

#: Latencies by their name in a measurement, as people write them.
METRICS: Mapping[str, str] = {
    "ttft": "TTFT",
    "itl": "ITL",
    "itl_per_token": "ITL per token",
    "tpot": "TPOT",
    "e2e": "e2e",
}


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


def roughly(value: float) -> str:
    """A time span that is a guess: 40 s, 30 min, 2 h 10 min."""
    return duration(value) if value < 60 or value >= 3600 else f"{round(value / 60)} min"


def number(value: float) -> str:
    """Four significant digits, thousands apart, never an exponent: 1,037 and 12.13."""
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def plain(value: float) -> str:
    """A number of an axis, which is round: 0.5, 20, 1,500."""
    return f"{value:,.6g}"


def value(amount: float, objective: Objective) -> str:
    """An objective's value: a share for a headroom, a number for the others; `unit` goes behind it or above."""
    return f"{amount:.1%}" if objective.kind is ObjectiveKind.HEADROOM else number(amount)


def objective_value(amount: float | None, objective: Objective) -> str:
    """An objective's value with its unit; an em dash where there is none."""
    return "—" if amount is None else f"{value(amount, objective)} {unit(objective)}"


def gain(value: float | None, baseline: float | None, objective: Objective) -> str:
    """`value` against `baseline` as a signed percentage; empty where there is nothing to compare."""
    return signed(objective.gain(value, baseline))


def signed(gained: float | None) -> str:
    """A gain as a signed percentage; empty where there is nothing to compare."""
    if gained is None:
        return ""
    return f"{gained:+.0%}" if gained >= 1 else f"{gained:+.1%}"


def setting(value: Value | None) -> str:
    """A knob's value; None: whatever the engine takes by itself."""
    return "engine default" if value is None else as_text(value)


def room(margin: float | None) -> str:
    """The relative room to a promise's bound; an em dash where it was not measured."""
    return "—" if margin is None else f"{margin:+.0%}"


def unit(objective: Objective) -> str:
    """The unit of an objective's value, as a heading."""
    if objective.kind is ObjectiveKind.HEADROOM:
        return "headroom"
    return "req/s" if objective.count is Count.REQUESTS else objective.count.value


def changed(values: Mapping[str, Value]) -> str:
    """What a trial sets otherwise than the target was found."""
    return " ".join(f"{name}={as_text(value)}" for name, value in values.items()) or "as found"


def level(one: Level) -> str:
    """One level on one line: load, answer, each SLO's statistic against its bound, and what went wrong."""
    parts = [f"{test.slo.split(' <=')[0]} {_against(test)}" for test in one.tests]
    parts += [f"{count} {kind}" for kind, count in one.errors.items() if kind != UNFINISHED]
    if one.overload > 0 and one.load.rate is not None:
        parts.append(f"fell behind: {number(one.request_rate)} req/s served")
    void = ", void: the probe was too slow" if one.saturated else ", void: foreign traffic" if one.foreign else ""
    told = f"; {', '.join(parts)}" if parts else ""
    answer = one.answer.value if one.tests else "measured"  # nothing was promised
    return f"{one.load}: {answer}{void} ({one.requests} {'request' if one.requests == 1 else 'requests'}{told})"


def statistic(one: Statistic | None) -> str:
    """p50 / p95 / p99 of a latency; an em dash where there is none."""
    if one is None:
        return "—"
    return " / ".join(seconds(value) for value in (one.p50, one.p95, one.p99))


def _against(test: SloTest) -> str:
    bound = test.slo.partition("<= ")[2]
    if test.observed is None:
        return f"unknown of {bound}"
    shown = f"{test.observed:.2%}" if bound.endswith("%") else seconds(test.observed)
    return f"{shown} of {bound}"
