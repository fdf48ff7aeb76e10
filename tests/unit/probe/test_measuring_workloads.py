"""The capacity search finds its way whatever is sent, and whenever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tuner.core.knob import Candidate
from tuner.core.measurement import Measurement
from tuner.core.slo import parse_slo
from tuner.core.workload import Arrival, Lengths, Objective, Workload
from tuner.probe import Job, Limits, measure
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.targets.simulated import SimulatedTarget

SHORT = Workload(Lengths(512, 0.5), Lengths(64, 0.5))
TALK = Workload(Lengths(100, 0.5), Lengths(60, 0.5), shared_prefix=300, turns=6, think_s=2.0)
LIMITS = Limits(level_s=20.0, total_s=300.0)


async def measured(workload: Workload, **knobs: bool) -> Measurement:
    target = SimulatedTarget(MODELS["Llama-3.1-8B"], GPUS["H100"], seed=1)
    await target.acquire("test")
    running = await target.apply(Candidate.of(**knobs), 1e6, lambda _: None)
    assert running.driver is not None
    slos = (parse_slo("ttft p95 <= 500ms"), parse_slo("itl p95 <= 60ms"))
    return await measure(running.driver, Job(workload, Objective(), slos, seed=3, full=True, limits=LIMITS))


async def test_the_more_arrivals_scatter_the_less_an_engine_bears() -> None:
    kinds = (Arrival.CONSTANT, Arrival.POISSON, Arrival.GAMMA)
    values = [(await measured(replace(SHORT, arrivals=kind, burstiness=0.2))).value or 0.0 for kind in kinds]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.1 * values[2] > 0


async def test_a_trace_has_a_capacity(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [
        {"timestamp": at, "input_length": 700, "output_length": 64, "hash_ids": [0, 1 + number]}
        for number, at in enumerate(np.cumsum(rng.exponential(900, size=800)))
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = await measured(Workload(trace=str(path), arrivals=Arrival.TRACE))
    assert found.value is not None
    assert found.level.load.rate is not None
    assert found.level.load.rate > 5  # it was recorded at 1.1 a second
    without = await measured(Workload(trace=str(path), arrivals=Arrival.TRACE), enable_prefix_caching=False)
    assert without.value is not None
    assert found.value > 1.2 * without.value  # all prompts begin with the same block


async def test_conversations_have_a_capacity_and_live_by_the_prefix_cache() -> None:
    found, without = await measured(TALK), await measured(TALK, enable_prefix_caching=False)
    assert found.value is not None
    assert without.value is not None
    assert found.value > 1.5 * without.value
    level = found.level
    assert level.load.rate is not None
    assert level.window is not None
    # The conversations that a level finds open are met before anything counts.
    assert level.window.warmup_requests >= level.load.rate * (2.0 + 60 / 10)
    assert level.request_rate == pytest.approx(level.load.rate, rel=0.1)
