"""Whole measurements over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.probe.driving import driving
from tests.integration.probe.fake_openai import FakeOpenAI
from tuner.core.cause import Cause, TrialFailed
from tuner.core.knob import Candidate
from tuner.core.request import Driver
from tuner.core.slo import parse_slo
from tuner.core.workload import Arrival, Lengths, Objective, Workload
from tuner.probe import Job, Limits, measure, soak
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.targets.simulated import SimulatedTarget


def one_level(workload: Workload) -> Job:
    return Job(
        workload,
        Objective(rate=60),
        (parse_slo("ttft p95 <= 2s"), parse_slo("error rate <= 1%")),
        seed=3,
        incumbent_rate=60,
        limits=Limits(levels=1),
    )


async def test_a_whole_measurement_over_http_with_calibrated_prompts() -> None:
    server = FakeOpenAI(first_s=0.01, step_s=0.001)
    job = one_level(Workload(prompt=Lengths(100), output=Lengths(4), shared_prefix=40))
    async with driving(server, "good") as driver:
        measurement = await measure(driver, job)

    level = measurement.level
    assert measurement.value == pytest.approx(240, rel=0.01)
    assert level.load.rate == 60
    assert level.statistics["ttft"].count == level.requests
    # The server says 3 tokens a word and 7 more; 140 tokens were wanted.
    sent = [3 * len(body["prompt"].split()) + 7 for body in server.bodies[-50:]]
    assert sum(sent) / len(sent) == pytest.approx(140, abs=3)
    assert len({body["prompt"] for body in server.bodies}) == len(server.bodies)


async def test_a_trace_is_replayed_over_http_with_what_its_prompts_have_in_common(tmp_path: Path) -> None:
    server = FakeOpenAI(first_s=0.01, step_s=0.001)
    path = tmp_path / "trace.jsonl"
    line = {"input_length": 700, "output_length": 4}
    path.write_text(
        "".join(json.dumps({**line, "timestamp": 10 * i, "hash_ids": [0, 1 + i]}) + "\n" for i in range(500))
    )
    job = one_level(Workload(trace=str(path), arrivals=Arrival.TRACE))
    async with driving(server, "good") as driver:
        measurement = await measure(driver, job)

    assert measurement.value == pytest.approx(240, rel=0.01)
    texts = [body["prompt"].split() for body in server.bodies[-50:]]
    assert {3 * len(words) + 7 for words in texts} <= {699, 700, 701}
    # One block of 512 tokens begins all prompts of the level; the rest is each one's own.
    assert len({" ".join(words[: 512 // 3]) for words in texts}) == 1
    assert len({" ".join(words) for words in texts}) == len(texts)


async def test_a_soak_fails_when_requests_do() -> None:
    async with driving(FakeOpenAI(), "good") as driver:
        assert (await soak(driver, Workload(Lengths(20, 0.5), Lengths(8)), 4, seed=1)).answer.value == "pass"
    async with driving(FakeOpenAI(), "busy") as driver:
        level = await soak(driver, Workload(Lengths(20), Lengths(8)), 4, seed=1)
    assert level.answer.value == "fail"
    assert level.errors["http 503"] >= 2


async def simulated_driver() -> Driver:
    target = SimulatedTarget(MODELS["Llama-3.1-8B"], GPUS["H100"], fixed={"max_model_len": 512})
    await target.acquire("test")
    running = await target.apply(Candidate(), 1800.0, lambda _: None)
    assert running.driver is not None
    return running.driver


@pytest.mark.parametrize("simulated", [True, False])
async def test_a_prompt_over_the_context_length_has_one_cause_on_every_driver(simulated: bool) -> None:
    job = Job(Workload(Lengths(1000), Lengths(8)), Objective(rate=1), (parse_slo("ttft p95 <= 2s"),), seed=1)
    async with driving(FakeOpenAI(), "refuse") as over_http:
        with pytest.raises(TrialFailed, match="maximum context length") as caught:
            await measure(await simulated_driver() if simulated else over_http, job)

    assert caught.value.failure.cause is Cause.PROBE_ERROR
