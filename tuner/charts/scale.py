"""Axes: which part of the numbers is shown, where a value lies on it, and which round numbers stand beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

_TICKS = 5
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
# Ratio of the ends of a logarithmic axis from which 1, 2, 5 make enough ticks, and from which only decades do.
_SHORT, _LONG = 4.0, 2e3
_FLAT = 1e-30  # a difference that is none
_PERCENTILES = (0.0, 50.0, 90.0, 95.0, 99.0, 99.9)
_LAST_PERCENTILE = 99.95


class Kind(StrEnum):
    """How values become places: evenly, by their logarithm, or percentiles by how little is left above them."""

    LINEAR = "linear"
    LOG = "log"
    PERCENTILES = "percentiles"


def plain(value: float) -> str:
    """A number as short as it can be."""
    return f"{value:,.10g}"


@dataclass(frozen=True)
class Axis:
    """What an axis is called and how its values are written (`text`, also in tooltips).

    `low` and `high` are shown at least; None: as far as the data reaches (a linear axis begins at 0 all the same).
    """

    label: str
    text: Callable[[float], str] = plain
    kind: Kind = Kind.LINEAR
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scale:
    """An axis laid over its data: `low` to `high` become 0 to 1."""

    axis: Axis
    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, axis: Axis, values: Iterable[float]) -> Scale:
        """The scale that holds all of `values` that it can show; there need not be any."""
        ends = (end for end in (axis.low, axis.high) if end is not None)
        shown = [value for value in (*values, *ends) if math.isfinite(value) and (value > 0 or axis.kind != Kind.LOG)]
        match axis.kind:
            case Kind.LINEAR:
                return cls(axis, *_linear(min([0.0, *shown]), max([0.0, *shown])))
            case Kind.LOG:
                return cls(axis, *_log(min(shown, default=1.0), max(shown, default=10.0)))
            case Kind.PERCENTILES:
                return cls(axis, _PERCENTILES[0], _LAST_PERCENTILE, _PERCENTILES)

    def place(self, value: float) -> float | None:
        """Where `value` lies, from 0 to 1; None where the axis can't show it."""
        if not math.isfinite(value) or (value <= 0 and self.axis.kind is Kind.LOG):
            return None
        low, high = self._spread(self.low), self._spread(self.high)
        return min(1.0, max(0.0, (self._spread(value) - low) / (high - low)))

    def _spread(self, value: float) -> float:
        match self.axis.kind:
            case Kind.LINEAR:
                return value
            case Kind.LOG:
                return math.log(value)
            case Kind.PERCENTILES:
                return -math.log(1 - min(value, _LAST_PERCENTILE) / 100)


def _linear(low: float, high: float) -> tuple[float, float, tuple[float, ...]]:
    ticks = _even(low, high if high - low > _FLAT else low + 1)
    if ticks[-1] < high:
        ticks.append(2 * ticks[-1] - ticks[-2])
    return ticks[0], ticks[-1], tuple(ticks)


def _log(low: float, high: float) -> tuple[float, float, tuple[float, ...]]:
    if high < 1.2 * low:  # a single value, or as good as one
        low, high = low / 1.5, high * 1.5
    if high / low < _SHORT:
        ticks = tuple(tick for tick in _even(low, high) if low <= tick <= high)
        return low, high, ticks
    digits = (1.0,) if high / low > _LONG else (1.0, 2.0, 5.0)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    round_numbers = [float(f"{digit}e{power}") for power in powers for digit in digits]
    first = max(number for number in round_numbers if number <= low)
    last = min((number for number in round_numbers if number >= high), default=high)
    return first, last, tuple(number for number in round_numbers if first <= number <= last)


def _even(low: float, high: float) -> list[float]:
    """Round numbers at even distances, from at or under `low` to about `high`."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in _ROUND if digit * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]
