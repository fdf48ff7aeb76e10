from __future__ import annotations

import numpy as np
import pytest

from tests.unit.probe.records import ttfts
from tuner.core.slo import parse_slo
from tuner.probe.verdict.design_effect import effect_of_neighbours, effective_sample
from tuner.probe.verdict.observations import observe


def autoregressive(correlation: float, count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(count)
    for i in range(1, count):
        values[i] = correlation * values[i - 1] + np.sqrt(1 - correlation**2) * values[i]
    return values


@pytest.mark.parametrize(("correlation", "effect"), [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0)])
def test_the_effect_is_that_of_an_autoregressive_series(correlation: float, effect: float) -> None:
    found = [effect_of_neighbours(autoregressive(correlation, 1000, seed), 0.0) for seed in range(60)]

    assert np.median(found) == pytest.approx(effect, rel=0.15)


def test_short_series_do_not_look_less_alike() -> None:
    found = [effect_of_neighbours(autoregressive(0.9, 60, seed), 0.0) for seed in range(200)]

    assert np.median(found) >= 0.7 * 19


def test_the_effect_is_at_least_none_and_at_most_all() -> None:
    assert effect_of_neighbours(np.array([]), 0.1) == 1.0
    assert effect_of_neighbours(np.full(100, 0.3), 0.1) == 1.0
    assert effect_of_neighbours(np.array([0.0, 1.0] * 50), 0.1) == 1.0
    assert effect_of_neighbours(np.linspace(0.0, 1.0, 100), 0.01) == 100
    assert effect_of_neighbours(np.linspace(0.0, 1.0, 100), 10.0) == 1.0  # differences that do not matter


def test_a_sample_in_clumps_is_worth_less() -> None:
    slo = parse_slo("ttft p95 <= 500ms")
    clumped = [0.6 if 500 <= i < 700 else 0.1 for i in range(2000)]
    spread = [0.6 if i % 10 == 0 else 0.1 for i in range(2000)]

    def worth(values: list[float], least: float = 1.0) -> float:
        return effective_sample(observe(slo, ttfts(values), 30.0), least, 0.05).count

    assert worth(spread) == 2000
    assert worth(clumped) < 50
    assert worth(spread, 4.0) == 500
