from __future__ import annotations

import pytest

from tuner.core.knob import Candidate
from tuner.core.measurement import Answer
from tuner.core.slo import parse_slo
from tuner.core.workload import Count, Lengths, Load, Objective, Workload
from tuner.probe import Job, measure
from tuner.probe.session import Session
from tuner.simulator.catalogue import find_gpu, find_model
from tuner.simulator.truth import Truth
from tuner.targets.simulated import SimulatedDriver, SimulatedTarget

# An answer takes some ten seconds where the engine is full, and its first token some milliseconds until then.
SLOTS = 256
WORKLOAD = Workload(Lengths(100), Lengths(1000))


async def started(seed: int) -> SimulatedDriver:
    baseline = Candidate.of(max_num_seqs=SLOTS)
    target = SimulatedTarget(find_model("llama-3.1-8b"), find_gpu("h100"), baseline=baseline, truth=Truth(seed))
    await target.acquire("test")
    running = await target.apply(baseline, 1e9, lambda _: None)
    assert isinstance(running.driver, SimulatedDriver)
    return running.driver


@pytest.mark.parametrize("seed", range(3))
async def test_a_promise_on_the_first_token_is_no_credit_for_what_an_engine_that_fills_takes_in(seed: int) -> None:
    job = Job(WORKLOAD, Objective(count=Count.REQUESTS), (parse_slo("ttft p95 <= 500ms"),), seed, pattern_seed=seed)
    driver = await started(seed)
    session = await Session.open(driver, job)
    saturated = (await session.level(Load(concurrency=2 * SLOTS), ())).request_rate

    found = await measure(driver, job)

    assert found.value is not None
    assert 0.85 * saturated < found.value < 1.1 * saturated
    for level in found.levels:
        if level.load.rate is not None and level.answer is Answer.PASS:
            assert level.load.rate < 1.1 * saturated
            assert level.duration_s > 3 * level.statistics["e2e"].p50
