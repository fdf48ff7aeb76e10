"""Failures of the real engine on a real cluster: the cause is named, soon, and nothing is left behind."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from support.deployment import Deployed, Document, container
from support.kubectl import Kubectl
from support.ownership import assert_untouched

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.knob import Candidate
from tuner.core.request import LevelPlan, PlannedRequest
from tuner.core.workload import Api, Load
from tuner.engines.vllm import VLLM
from tuner.probe.client import http_driver
from tuner.targets.kubernetes import connect
from tuner.targets.kubernetes.deployment import KubernetesTarget

pytestmark = [pytest.mark.cluster, pytest.mark.engine]

START_S = 150.0
# As promised to users: the cause is known within 5 s of its evidence; kubelets tell times in whole seconds.
TOLD_WITHIN_S = 5.0 + 1.0
Deploy = Callable[..., Deployed]


@asynccontextmanager
async def acquired(deployed: Deployed) -> AsyncIterator[KubernetesTarget]:
    """A Deployment as a target, held; at the end it must be as it was, to the last field and owner."""
    before = deployed.get()
    kubectl = deployed.kubectl
    assert kubectl.namespace
    client = await connect(str(kubectl.kubeconfig))
    target = KubernetesTarget(client, kubectl.namespace, deployed.name, VLLM)
    try:
        await target.inspect()
        await target.acquire("e2e")
        yield target
        await target.restore()
    finally:
        await target.release()
    assert_untouched(before, deployed.get())


async def failure_of(target: KubernetesTarget, candidate: Candidate) -> Failure:
    """The failure of a start that must fail."""
    with pytest.raises(TrialFailed) as caught:
        await target.apply(candidate, START_S, lambda _phrase: None)
    return caught.value.failure


def seconds_since_exit(kubectl: Kubectl) -> float:
    """Seconds since the engine's container last ended, by the cluster's word."""
    ends = []
    for pod in kubectl.json("get", "pods")["items"]:
        for status in pod["status"].get("containerStatuses", []):
            for state in (status["state"], status.get("lastState", {})):
                if "terminated" in state:
                    ends.append(datetime.datetime.fromisoformat(state["terminated"]["finishedAt"]))
    assert ends, "no container has ended"
    return (datetime.datetime.now(datetime.UTC) - max(ends)).total_seconds()


async def test_a_value_that_the_engine_refuses_is_a_bad_flag(deploy_vllm: Deploy, kubectl: Kubectl) -> None:
    async with acquired(deploy_vllm(size="tiny")) as target:
        failure = await failure_of(target, Candidate.of(kv_cache_dtype="fp7"))
        told_after = seconds_since_exit(kubectl)
    assert failure.cause is Cause.BAD_FLAG
    assert "--kv-cache-dtype" in failure.message
    assert "fp7" in failure.message
    assert told_after <= TOLD_WITHIN_S


async def test_a_cache_smaller_than_the_longest_request_is_told_with_the_engines_estimate(
    deploy_vllm: Deploy, kubectl: Kubectl
) -> None:
    def ask_for_long_requests(deployment: Document) -> None:
        args = container(deployment)["args"]
        args[args.index("--max-model-len=2048")] = "--max-model-len=131072"  # 2 GiB of cache; there is 1

    async with acquired(deploy_vllm(ask_for_long_requests)) as target:
        failure = await failure_of(target, Candidate.of(max_num_seqs=16))
        told_after = seconds_since_exit(kubectl)
    assert failure.cause is Cause.KV_CACHE_TOO_SMALL
    assert failure.overshoot == pytest.approx(1.0, abs=0.1)
    assert failure.hint
    assert 60_000 < failure.hint["max_model_len"] < 66_000
    assert told_after <= TOLD_WITHIN_S


async def test_a_start_over_the_memory_limit_is_host_oom(deploy_vllm: Deploy, kubectl: Kubectl) -> None:
    def lower_the_limit(deployment: Document) -> None:
        container(deployment)["resources"] = {"requests": {"memory": "1Gi"}, "limits": {"memory": "1536Mi"}}

    async with acquired(deploy_vllm(lower_the_limit)) as target:
        failure = await failure_of(target, Candidate.of(max_num_seqs=16))
        told_after = seconds_since_exit(kubectl)
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
    assert "EngineCore" in failure.message or "EngineDead" in failure.message + failure.evidence
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
        " and b'EngineCore' in (p / 'cmdline').read_bytes()]\n"
        "[os.kill(pid, 9) for pid in found]\n"
        "assert found"
    )
    kubectl("exec", "deployment/vllm-cpu", "--", "python3", "-c", program)
