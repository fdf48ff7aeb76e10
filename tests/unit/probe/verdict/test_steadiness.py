from __future__ import annotations

import numpy as np
import pytest

from tests.unit.probe.queue_driver import QueueDriver
from tuner.core.measurement import Answer
from tuner.core.request import LevelPlan, LevelRecords, PlannedRequest, RequestRecord
from tuner.core.slo import parse_slo
from tuner.core.workload import Load
from tuner.probe.job import Limits
from tuner.probe.verdict.level import LevelTest, size_of
from tuner.probe.verdict.steadiness import steadiness_of
from tuner.probe.workload.arrivals import Gamma, Poisson

TOKENS = 48
RATE = 20.0


def planned(rate: float, seed: int, n: int) -> tuple[PlannedRequest, ...]:
    arrivals = Poisson(rate).arrivals(n, np.random.default_rng(seed))
    return tuple(PlannedRequest(i, 10, TOKENS, at) for i, at in enumerate(arrivals))


def ended_by(at_s: float, requests: tuple[PlannedRequest, ...], driver: QueueDriver) -> tuple[RequestRecord, ...]:
    served = driver._served(LevelPlan(Load(rate=RATE), requests, (), 600, 1e9))
    return tuple(record for record in served if record.end_s <= at_s)


@pytest.mark.parametrize(("share", "steady"), [(0.85, True), (1.3, False)])
def test_an_engine_that_completes_less_than_it_is_offered_is_not_steady(share: float, steady: bool) -> None:
    driver = QueueDriver(servers=40)
    rate = share * driver.servers / driver.service_s(TOKENS)
    found = [
        steadiness_of(r := planned(rate, seed, 800), ended_by(r[-1].arrival_s or 0, r, driver)) for seed in range(40)
    ]

    told = sum(one.overload > 0 for one in found)

    assert told <= 4 if steady else told >= 38
    assert all(one.overload < 0.35 for one in found)


def bursty(rate: float, seed: int, n: int) -> tuple[PlannedRequest, ...]:
    arrivals = Gamma(rate, 0.1).arrivals(n, np.random.default_rng(seed))
    return tuple(PlannedRequest(i, 10, TOKENS, at) for i, at in enumerate(arrivals))


def test_what_is_in_an_engine_may_grow_by_a_burst_that_is_known_to_come() -> None:
    driver = QueueDriver(servers=300)
    rate = 0.5 * driver.servers / driver.service_s(TOKENS)
    levels = [bursty(rate, seed, 400) for seed in range(60)]
    found = [(requests, ended_by(requests[-1].arrival_s or 0, requests, driver)) for requests in levels]

    told = [sum(steadiness_of(*one, dispersion=d).overload > 0 for one in found) for d in (1.0, 10.0)]
    assert told[0] > 6  # more than the 1 in 20 that the rule allows
    assert told[1] <= 6


async def level(driver: QueueDriver, rate: float, limits: Limits) -> tuple[Answer, bool, float, LevelRecords]:
    size = size_of(Load(rate=rate), (parse_slo("ttft p95 <= 500ms"),), limits, e2e_s=1.0)
    test = LevelTest(Load(rate=rate), (parse_slo("ttft p95 <= 500ms"),), planned(rate, 1, size.requests), size)
    records = await driver.level(test.plan(), test.stop)
    found = test.level(records)
    return found.answer, found.steady, found.duration_s, records


async def test_an_engine_that_fills_has_not_passed() -> None:
    # Answers at once and takes 19 s for all of it, however many there are.
    filling = QueueDriver(servers=100_000, step_s=0.4)
    e2e_s = filling.service_s(TOKENS)

    answer, steady, duration_s, _ = await level(filling, RATE, Limits())
    assert (answer, steady) == (Answer.PASS, True)
    assert duration_s > 3 * e2e_s

    answer, steady, _, _ = await level(filling, RATE, Limits(level_s=2 * e2e_s, total_s=2 * e2e_s))
    assert (answer, steady) == (Answer.UNCERTAIN, False)


async def test_a_level_goes_on_by_time_until_the_engine_is_steady() -> None:
    filling = QueueDriver(servers=100_000, step_s=0.4)

    answer, _, duration_s, records = await level(filling, 100.0, Limits(level_s=10, total_s=1800))

    assert answer is Answer.PASS
    assert duration_s > 3 * filling.service_s(TOKENS)
    assert len(records.records) > 2000


async def test_a_queue_that_grows_ends_a_level_soon() -> None:
    driver = QueueDriver()

    answer, _, duration_s, _ = await level(driver, 2 * driver.servers / driver.service_s(TOKENS), Limits())

    assert answer is not Answer.PASS
    assert duration_s < 10
