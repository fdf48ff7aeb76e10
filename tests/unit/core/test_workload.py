"""Objectives: what may be compared by ratios, and how."""

from __future__ import annotations

import math

import pytest

from tuner.core.workload import Objective, ObjectiveKind

CAPACITY, HEADROOM = Objective(), Objective(ObjectiveKind.HEADROOM, rate=5.0)


def test_headrooms_are_compared_by_how_often_the_statistic_fits_its_bound() -> None:
    assert HEADROOM.merit(0.5) == 2.0
    assert HEADROOM.merit(1.0) < math.inf
    assert CAPACITY.merit(0.04) == 0.04


def test_a_gain_is_relative_in_merit() -> None:
    assert CAPACITY.gain(110.0, 100.0) == pytest.approx(0.1)
    assert HEADROOM.gain(0.44, 0.04) == pytest.approx(0.96 / 0.56 - 1)
    assert HEADROOM.gain(0.5, 0.0) == pytest.approx(1.0)


def test_there_is_no_gain_over_nothing() -> None:
    assert CAPACITY.gain(110.0, None) is CAPACITY.gain(None, 100.0) is CAPACITY.gain(110.0, 0.0) is None


def test_a_gain_lies_between_two_means() -> None:
    assert CAPACITY.mean([2.0, 8.0]) == pytest.approx(4.0)
    mean = HEADROOM.mean([0.0, 0.75])
    assert mean == pytest.approx(0.5)  # twice as fast lies between as fast and four times as fast
    assert HEADROOM.gain(mean, 0.0) == pytest.approx(1.0)
