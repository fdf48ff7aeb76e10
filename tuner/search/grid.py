"""The values of one knob that are worth trying, in order."""

from __future__ import annotations

import math

from tuner.core.knob import Knob, KnobKind, Value


def values(knob: Knob) -> tuple[Value, ...] | None:
    """All values worth trying, ascending for numbers; None where the knob is continuous."""
    if knob.kind is KnobKind.BOOL:
        return (False, True)
    if knob.kind is KnobKind.CHOICE:
        return knob.choices
    low, high = bounds(knob)
    if knob.per_doubling is not None:
        return _per_doubling(knob, low, high, knob.per_doubling)
    if knob.step is not None:
        count = math.floor((high - low) / knob.step + 1e-9)
        inner = [low + index * knob.step for index in range(count + 1)]
        return _tidy(knob, [*inner, high])
    if knob.kind is KnobKind.INT and not knob.log:
        return tuple(range(int(low), int(high) + 1))
    return None


def bounds(knob: Knob) -> tuple[float, float]:
    """Lowest and highest value of a numeric knob."""
    assert knob.low is not None
    assert knob.high is not None
    return knob.low, knob.high


def snap(knob: Knob, value: Value) -> Value:
    """The value worth trying that is nearest to `value` (in ratio on a log scale); unknown choices become the first."""
    if knob.kind in (KnobKind.BOOL, KnobKind.CHOICE):
        options = values(knob)
        assert options
        return value if knob.contains(value) else options[0]
    number = float(value)
    if (options := values(knob)) is not None:
        return min(options, key=lambda option: _distance(knob, float(option), number))
    low, high = bounds(knob)
    clipped = min(max(number, low), high)
    return round(clipped) if knob.kind is KnobKind.INT else clipped


def at_least(knob: Knob, bound: float) -> Value | None:
    """The smallest value worth trying that is >= `bound`; None where all are smaller."""
    if (options := values(knob)) is not None:
        return next((option for option in options if float(option) >= bound), None)
    low, high = bounds(knob)
    if bound > high:
        return None
    return math.ceil(max(bound, low)) if knob.kind is KnobKind.INT else max(bound, low)


def at_most(knob: Knob, bound: float) -> Value | None:
    """The largest value worth trying that is <= `bound`; None where all are larger."""
    if (options := values(knob)) is not None:
        return next((option for option in reversed(options) if float(option) <= bound), None)
    low, high = bounds(knob)
    if bound < low:
        return None
    return math.floor(min(bound, high)) if knob.kind is KnobKind.INT else min(bound, high)


def position(knob: Knob, value: Value) -> float:
    """Where `value` lies within the knob's range, from 0 to 1 (by index for choices)."""
    if knob.kind in (KnobKind.BOOL, KnobKind.CHOICE):
        options = values(knob) or (value,)
        return options.index(value) / max(1, len(options) - 1) if value in options else 0.0
    low, high = bounds(knob)
    number = min(max(float(value), low), high)
    if high == low:
        return 0.0
    if knob.log:
        return (math.log(number) - math.log(low)) / (math.log(high) - math.log(low))
    return (number - low) / (high - low)


def at(knob: Knob, share: float) -> Value:
    """The value worth trying at `share` (0 to 1) of the knob's range: the inverse of `position`, snapped.

    Every value worth trying gets an equal part of the range.
    """
    share = min(max(share, 0.0), 1.0)
    if (options := values(knob)) is not None:
        return options[min(int(share * len(options)), len(options) - 1)]
    low, high = bounds(knob)
    number = low * (high / low) ** share if knob.log else low + (high - low) * share
    return snap(knob, number)


def _per_doubling(knob: Knob, low: float, high: float, count: int) -> tuple[Value, ...]:
    first, last = math.floor(math.log2(low)), math.ceil(math.log2(high))
    inner = [2.0**power * (1 + part / count) for power in range(first, last + 1) for part in range(count)]
    return _tidy(knob, [low, *(value for value in inner if low <= value <= high), high])


def _tidy(knob: Knob, numbers: list[float]) -> tuple[Value, ...]:
    if knob.kind is KnobKind.INT:
        return tuple(sorted({round(number) for number in numbers}))
    return tuple(sorted({round(number, 9) for number in numbers}))


def _distance(knob: Knob, a: float, b: float) -> float:
    if not knob.log:
        return abs(a - b)
    return abs(math.log(a) - math.log(b)) if b > 0 else a
