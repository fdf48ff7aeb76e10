"""Axes: round ticks that hold the data, and places between 0 and 1."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.charts import Axis, Kind
from tuner.charts.scale import Scale

positive = st.floats(1e-6, 1e9)


@given(st.lists(st.floats(-1e9, 1e9), max_size=5))
def test_a_linear_axis_begins_at_0_and_holds_its_data(values: list[float]) -> None:
    scale = Scale.over(Axis("x"), values)
    rounding = 1e-6 * (scale.high - scale.low)
    assert scale.low - rounding <= min([0.0, *values])
    assert scale.high + rounding >= max(values, default=1.0)
    assert scale.ticks[0] == scale.low
    assert scale.ticks[-1] == scale.high
    assert 2 <= len(scale.ticks) <= 9


@given(st.lists(positive, max_size=5))
def test_a_logarithmic_axis_holds_its_data_between_round_numbers(values: list[float]) -> None:
    scale = Scale.over(Axis("x", kind=Kind.LOG), values)
    assert scale.low <= min(values, default=1.0)
    assert scale.high >= max(values, default=1.0)
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert len(scale.ticks) >= 2


@given(positive, positive, st.sampled_from(Kind))
def test_places_are_in_the_order_of_the_values(a: float, b: float, kind: Kind) -> None:
    scale = Scale.over(Axis("x", kind=kind), [a, b])
    low, high = scale.place(min(a, b)), scale.place(max(a, b))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.9], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([7.3], (0.0, 2.0, 4.0, 6.0, 8.0)),
        ([120.0], (0.0, 25.0, 50.0, 75.0, 100.0, 125.0)),
    ],
)
def test_ticks_are_round(values: list[float], ticks: tuple[float, ...]) -> None:
    assert Scale.over(Axis("x"), values).ticks == ticks


def test_a_logarithmic_axis_has_ticks_by_its_length() -> None:
    def ticks(low: float, high: float) -> tuple[float, ...]:
        return Scale.over(Axis("x", kind=Kind.LOG), [low, high]).ticks

    assert ticks(0.03, 0.4) == (0.02, 0.05, 0.1, 0.2, 0.5)
    assert ticks(0.001, 90.0) == (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    assert ticks(0.020, 0.026) == (0.02, 0.022, 0.024, 0.026)


def test_what_an_axis_can_not_show_has_no_place() -> None:
    logarithmic = Scale.over(Axis("x", kind=Kind.LOG), [0.0, 1.0, 10.0])
    assert logarithmic.place(0.0) is None
    assert logarithmic.place(math.nan) is None
    assert logarithmic.place(10.0) == 1.0


def test_percentiles_are_spread_by_what_is_left_above_them() -> None:
    scale = Scale.over(Axis("x", kind=Kind.PERCENTILES), [])
    p0, p90, p99, most = (scale.place(value) for value in (0.0, 90.0, 99.0, 100.0))
    assert p0 == 0.0
    assert p90 is not None
    assert p99 == pytest.approx(2 * p90)
    assert most == 1.0
