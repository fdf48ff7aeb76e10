"""Each process has its own gaps, and all of them exactly the rate that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.core.workload import Arrival, Load, Workload
from tuner.probe.workload.arrivals import (
    Arrivals,
    ClosedLoop,
    Constant,
    Gamma,
    Poisson,
    Replay,
    Stage,
    Stages,
    arrivals_of,
)


def times(process: Arrivals, n: int, seed: int = 1) -> np.ndarray:
    return np.array(process.arrivals(n, np.random.default_rng(seed)), dtype=float)


@pytest.mark.parametrize(
    ("process", "cv"), [(Poisson(20), 1.0), (Gamma(20, 1.0), 1.0), (Gamma(20, 0.25), 2.0), (Gamma(20, 4.0), 0.5)]
)
def test_gaps_scatter_as_their_process_says_at_exactly_its_rate(process: Arrivals, cv: float) -> None:
    found = times(process, 8000)
    gaps = np.diff(found)
    assert found[-1] == pytest.approx(8000 / 20)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    assert (gaps >= 0).all()


def test_gamma_gaps_of_shape_one_are_exponential() -> None:
    gaps = np.diff(times(Gamma(20, 1.0), 4000))
    assert (gaps > 0.05).mean() == pytest.approx(np.exp(-1), abs=0.03)


def test_constant_gaps_are_equal() -> None:
    assert times(Constant(4), 6) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.25, 1.5])


@pytest.mark.parametrize("kind", [kind for kind in Arrival if kind is not Arrival.TRACE])
def test_a_pattern_is_the_same_at_every_rate_only_scaled(kind: Arrival) -> None:
    workload = Workload(arrivals=kind, burstiness=0.5)
    slow, fast = (times(arrivals_of(Load(rate=rate), workload), 50, seed=3) for rate in (1, 10))
    assert slow == pytest.approx(10 * fast)


def test_a_closed_loop_has_no_schedule_whatever_the_arrivals() -> None:
    process = arrivals_of(Load(concurrency=3), Workload(arrivals=Arrival.CONSTANT))
    assert process == ClosedLoop(3)
    assert process.arrivals(2, np.random.default_rng(3)) == (None, None)


def test_a_replay_keeps_bursts_and_stretches_all_gaps_alike() -> None:
    replay = Replay(10, (3.0, 0.0, 1.0, 8.0, 5.0))
    assert times(replay, 4) == pytest.approx(np.array([3, 3, 4, 12]) * (0.4 / 12))
    assert times(replay, 5)[-1] == pytest.approx(0.5)
    assert times(Replay(10, (0.0, 0.0)), 2) == pytest.approx([0.1, 0.2])


def test_stages_follow_their_rates() -> None:
    stages = Stages((Stage(10, 4), Stage(20, 0, 10), Stage(10, 6, 2)), Constant(1.0))
    assert (stages.requests, stages.seconds, stages.rate) == (180, 40, pytest.approx(4.5))
    found = times(stages, stages.requests)
    assert found[-1] == pytest.approx(40)
    assert np.histogram(found, bins=[0, 10, 20, 30, 35, 40.001])[0] == pytest.approx([40, 25, 75, 25, 15], abs=1)
    # Half way up a ramp from 0 there have been a quarter of its requests.
    assert Stage(20, 0, 10).when(25) == pytest.approx(10)
    assert str(stages) == "4/s for 10 s, then 0/s to 10/s for 20 s, then 6/s to 2/s for 10 s"


def test_random_arrivals_of_stages_are_in_order_and_within_them() -> None:
    stages = Stages((Stage(30, 1, 9), Stage(30, 9, 1)))
    found = times(stages, stages.requests)
    assert (np.diff(found) >= 0).all()
    assert found[0] >= 0
    assert found[-1] == pytest.approx(60)
    assert ((found > 15) & (found < 45)).sum() == pytest.approx(0.7 * 300, rel=0.15)


@pytest.mark.parametrize("stage", [(0, 1), (10, 0), (10, -1), (10, 1, -1), (-5, 1)])
def test_a_stage_without_time_or_requests_is_refused(stage: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a stage takes time"):
        Stage(*stage)
