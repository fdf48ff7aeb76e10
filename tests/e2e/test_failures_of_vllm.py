"""Failures of the real engine on a real cluster: the cause is named, soon, and nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.e2e.support.deployment import Deployed, Document, container
from tests.e2e.support.failing import seconds_since
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import START_S, TOLD_WITHIN_S, acquired, failure_of
from tuner.core.cause import Cause, TrialFailed
from tuner.core.knob import Candidate
from tuner.core.request import LevelPlan, PlannedRequest
from tuner.core.workload import Api, Load
from tuner.engines.vllm import VLLM
from tuner.probe.client.driver import http_driver

pytestmark = [pytest.mark.cluster, pytest.mark.engine]

Deploy = Callable[..., Deployed]


async def test_an_unknown_flag_is_a_bad_flag_with_the_engines_own_message(deploy_vllm: Deploy) -> None:
    def misspell(deployment: Document) -> None:
        container(deployment)["args"].append("--swap-space=4")  # gone from this version

    deployed = deploy_vllm(misspell, size="tiny")
    async with acquired(deployed) as target:
        failure = await failure_of(target, Candidate.of(max_num_seqs=16))
        told_after = seconds_since("exit", deployed)
    assert failure.cause is Cause.BAD_FLAG
    assert "unrecognized arguments: --swap-space=4" in failure.message
    assert told_after <= TOLD_WITHIN_S


async def test_values_that_contradict_each_other_are_a_bad_flag(deploy_vllm: Deploy) -> None:
    deployed = deploy_vllm(size="tiny")
    async with acquired(deployed) as target:
        failure = await failure_of(target, Candidate.of(max_num_seqs=256, max_num_batched_tokens=128))
        told_after = seconds_since("exit", deployed)
    assert failure.cause is Cause.BAD_FLAG
    assert "max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256)" in failure.message
    assert told_after <= TOLD_WITHIN_S


async def test_a_cache_smaller_than_the_longest_request_is_told_with_the_engines_estimate(deploy_vllm: Deploy) -> None:
    def ask_for_long_requests(deployment: Document) -> None:
        args = container(deployment)["args"]
        args[args.index("--max-model-len=2048")] = "--max-model-len=131072"  # 2 GiB of cache; there is 1

    deployed = deploy_vllm(ask_for_long_requests)
    async with acquired(deployed) as target:
        failure = await failure_of(target, Candidate.of(max_num_seqs=16))
        told_after = seconds_since("exit", deployed)
    assert failure.cause is Cause.KV_CACHE_TOO_SMALL
    assert failure.overshoot == pytest.approx(1.0, abs=0.1)
    assert failure.hint
    assert 60_000 < failure.hint["max_model_len"] < 66_000
    assert told_after <= TOLD_WITHIN_S


async def test_a_start_over_the_memory_limit_is_host_oom(deploy_vllm: Deploy) -> None:
    def lower_the_limit(deployment: Document) -> None:
        container(deployment)["resources"] = {"requests": {"memory": "1Gi"}, "limits": {"memory": "1536Mi"}}

    deployed = deploy_vllm(lower_the_limit)
    async with acquired(deployed) as target:
        failure = await failure_of(target, Candidate.of(max_num_seqs=16))
        told_after = seconds_since("exit", deployed)
    assert failure.cause is Cause.HOST_OOM
    assert told_after <= TOLD_WITHIN_S


async def test_an_engine_killed_while_probed_is_a_crash_under_load(deploy_vllm: Deploy, kubectl: Kubectl) -> None:
    """As when memory runs out: the server itself lives on, ends its streams politely, and exits with code 0."""
    async with acquired(deploy_vllm()) as target:
        running = await target.apply(Candidate.of(max_num_seqs=16), START_S, lambda _phrase: None)
        assert running.endpoint
        driver = http_driver(running.endpoint, running.model, api=Api.COMPLETIONS, api_key=None, counters=VLLM.counters)
        load = asyncio.create_task(driver.level(plan(), lambda _records: False))
        try:
            await asyncio.sleep(4)
            assert not load.done()
            await asyncio.to_thread(kill_worker, kubectl)
            killed = time.monotonic()
            with pytest.raises(TrialFailed) as caught:
                await asyncio.wait_for(load, 60)
            failure = await target.diagnose(caught.value.failure)
            told_after = time.monotonic() - killed
        finally:
            await driver.close()
    assert failure.cause is Cause.CRASH_UNDER_LOAD
    said = failure.message + (failure.evidence or "")
    assert "EngineCore" in said or "EngineDead" in said
    assert told_after <= TOLD_WITHIN_S


def plan() -> LevelPlan:
    """A minute of load at four clients."""
    requests = tuple(
        PlannedRequest(index, prompt_tokens=64, output_tokens=64, text=f"{index} " + "the statement is used " * 12)
        for index in range(400)
    )
    return LevelPlan(Load(concurrency=4), requests, looks=(400,), timeout_s=60, max_s=120)


def kill_worker(kubectl: Kubectl) -> None:
    """SIGKILL the process that computes, inside the pod, as the kernel does when memory runs out."""
    program = (
        "import os, pathlib\n"
        "found = [int(p.name) for p in pathlib.Path('/proc').iterdir() if p.name.isdigit()"
        " and (p / 'cmdline').read_bytes().startswith(b'VLLM::EngineCore')]\n"
        "[os.kill(pid, 9) for pid in found]\n"
        "assert found"
    )
    kubectl("exec", "deployment/vllm-cpu", "--", "python3", "-c", program)
