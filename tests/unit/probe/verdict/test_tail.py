from __future__ import annotations

import numpy as np
import pytest

from tuner.probe.verdict.tail import exponential_beyond, normal_beyond


def test_an_exponential_tail_is_bounded_from_above_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(3)
    samples = [rng.exponential(1.0, 200) for _ in range(300)]

    for true in (0.05, 0.001):
        bound = -np.log(true)
        above = sum(exponential_beyond(values, bound, 200, 0.05) >= true for values in samples)
        assert above >= 0.95 * len(samples)


def test_more_observations_say_more() -> None:
    values = np.random.default_rng(4).exponential(1.0, 2000)

    shares = [exponential_beyond(values, 6.0, worth, 0.05) for worth in (1, 5, 50, 2000)]

    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9
    assert shares[-1] == pytest.approx(np.exp(-6), rel=0.5)


def test_a_bound_among_the_values_is_no_matter_of_their_tail() -> None:
    values = np.linspace(0.0, 1.0, 101)

    assert exponential_beyond(values, 0.7, 101, 0.05) == 1.0
    assert exponential_beyond(np.full(50, 0.2), 0.3, 50, 0.05) == 0.0
    assert exponential_beyond(values, 5.0, 101, 0.0) == 1.0


def test_a_normal_tail_is_bounded_from_above_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(5)
    samples = [rng.normal(10.0, 2.0, 40) for _ in range(300)]

    for true, deviations in ((0.0228, 2.0), (0.00135, 3.0)):
        above = sum(normal_beyond(values, 10 + 2 * deviations, 40, 0.05) >= true for values in samples)
        assert above >= 0.95 * len(samples)


def test_a_mean_of_many_is_farther_from_a_bound_than_a_wait() -> None:
    values = np.random.default_rng(6).normal(10.0, 1.0, 400)

    assert normal_beyond(values, 15.0, 20, 0.05) < 0.05 * exponential_beyond(values, 15.0, 20, 0.05)
    assert normal_beyond(np.full(50, 0.2), 0.3, 50, 0.05) == 0.0
    assert normal_beyond(values, 15.0, 1, 0.05) == normal_beyond(values, 15.0, 20, 0.0) == 1.0
