"""A Deployment as the target of the code under test, and when its engine failed by the cluster's own word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e.support.deployment import Deployed
from tests.e2e.support.ownership import assert_forgotten, assert_untouched
from tuner.core.cause import Failure, TrialFailed
from tuner.core.knob import Candidate
from tuner.engines.vllm import VLLM
from tuner.targets.kubernetes import connect
from tuner.targets.kubernetes.deployment import KubernetesTarget

# As promised to users: the cause is known within 5 s of its evidence; kubelets tell times in whole seconds.
TOLD_WITHIN_S = 5.0 + 1.0
START_S = 150.0


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
    assert_forgotten(kubectl.json("get", "replicasets")["items"])


async def failure_of(target: KubernetesTarget, candidate: Candidate, deadline_s: float = START_S) -> Failure:
    """The failure of a start that must fail."""
    with pytest.raises(TrialFailed) as caught:
        await target.apply(candidate, deadline_s, lambda _phrase: None)
    return caught.value.failure
