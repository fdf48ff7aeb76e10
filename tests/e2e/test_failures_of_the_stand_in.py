"""Failures that come from the cluster, or that only a GPU has: made with the stand-in engine on a real cluster."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.e2e.support.deployment import Deployed, Document, container
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.target import START_S, TOLD_WITHIN_S, acquired, failure_of, seconds_since_exit
from tuner.core.cause import Cause
from tuner.core.knob import Candidate

pytestmark = pytest.mark.cluster

CANDIDATE = Candidate.of(max_num_seqs=32)
Deploy = Callable[..., Deployed]


async def test_the_ground_is_sound(deploy_engine_sim: Deploy) -> None:
    async with acquired(deploy_engine_sim()) as target:
        running = await target.apply(CANDIDATE, START_S, lambda _phrase: None)
    assert running.facts.settings
    assert running.facts.settings["max_num_seqs"] == 32


async def test_more_gpus_than_there_are_is_unschedulable(deploy_engine_sim: Deploy) -> None:
    def ask_for_nine(deployment: Document) -> None:
        for part in container(deployment)["resources"].values():
            if "nvidia.com/gpu" in part:
                part["nvidia.com/gpu"] = 9

    began = time.monotonic()
    async with acquired(deploy_engine_sim(ask_for_nine)) as target:
        failure = await failure_of(target, CANDIDATE)
    assert failure.cause is Cause.UNSCHEDULABLE
    assert "nvidia.com/gpu" in failure.message
    assert time.monotonic() - began < 60


async def test_a_missing_image_is_an_image_error(deploy_engine_sim: Deploy) -> None:
    def name_another(deployment: Document) -> None:
        container(deployment).update(image="localhost/vllm/vllm-openai:none", imagePullPolicy="Never")
        container(deployment)["command"] = ["vllm", "serve"]

    began = time.monotonic()
    async with acquired(deploy_engine_sim(name_another)) as target:
        failure = await failure_of(target, CANDIDATE)
    assert failure.cause is Cause.IMAGE_OR_CONFIG
    assert "localhost/vllm/vllm-openai:none" in failure.message
    assert time.monotonic() - began < 60


async def test_a_readiness_probe_that_never_succeeds_is_a_slow_start_and_says_so(deploy_engine_sim: Deploy) -> None:
    def probe_nothing(deployment: Document) -> None:
        container(deployment)["readinessProbe"]["httpGet"]["path"] = "/nowhere"

    async with acquired(deploy_engine_sim(probe_nothing)) as target:
        failure = await failure_of(target, CANDIDATE, deadline_s=15)
    assert failure.cause is Cause.SLOW_START
    assert "readinessProbe" in failure.message


@pytest.mark.parametrize(
    ("fail", "cause"),
    [("oom-at-start", Cause.GPU_OOM_AT_START), ("crash-at-start", Cause.CRASH_AT_START)],
)
async def test_an_engine_that_ends_at_its_start_is_told_by_its_log(
    deploy_engine_sim: Deploy, kubectl: Kubectl, fail: str, cause: Cause
) -> None:
    def let_it_fail(deployment: Document) -> None:
        container(deployment)["env"].append({"name": "TUNER_SIM_FAIL", "value": fail})

    async with acquired(deploy_engine_sim(let_it_fail)) as target:
        failure = await failure_of(target, CANDIDATE)
        told_after = seconds_since_exit(kubectl)
    assert failure.cause is cause
    assert failure.evidence
    assert told_after <= TOLD_WITHIN_S
