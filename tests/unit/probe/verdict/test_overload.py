from __future__ import annotations

import numpy as np

from tests.unit.probe.queue_driver import QueueDriver
from tuner.core.request import LevelPlan, PlannedRequest, RequestRecord
from tuner.core.workload import Load
from tuner.probe.verdict.overload import overload_of
from tuner.probe.workload.arrivals import Poisson


def served(load_share: float, seed: int, n: int = 150) -> tuple[RequestRecord, ...]:
    driver = QueueDriver()
    rate = load_share * driver.servers / driver.service_s(48)
    arrivals = Poisson(rate).arrivals(n, np.random.default_rng(seed))
    requests = tuple(PlannedRequest(i, 10, 48, at) for i, at in enumerate(arrivals))
    return tuple(driver._served(LevelPlan(Load(rate=rate), requests, (), 60, 1e9)))


def test_an_overloaded_engine_falls_behind() -> None:
    assert sum(overload_of(served(1.4, seed)) > 0 for seed in range(40)) >= 38


def test_a_busy_engine_that_keeps_up_is_seldom_blamed() -> None:
    assert sum(overload_of(served(0.85, seed)) > 0 for seed in range(100)) <= 5


def test_few_requests_never_tell() -> None:
    assert not overload_of(served(3.0, 1, n=39))


def test_an_overload_is_seldom_told_larger_than_it_is() -> None:
    told = [overload_of(served(1.4, seed, n=400)) for seed in range(40)]
    assert sum(one <= 0.4 for one in told) >= 36
    assert np.mean(told) > 0.3
