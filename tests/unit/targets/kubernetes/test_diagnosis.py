"""What is looked at first where an engine no longer serves: a pod that was taken away takes its containers along."""

from __future__ import annotations

from typing import Any

import pytest

from tuner.core.cause import Cause, Failure
from tuner.engines.vllm import VLLM
from tuner.targets.kubernetes.diagnosis import diagnose
from tuner.targets.kubernetes.errors import Unreachable
from tuner.targets.kubernetes.pods import PodState
from tuner.targets.kubernetes.resources import DEPLOYMENTS, Resource
from tuner.targets.kubernetes.rollout import Ready, Start
from tuner.targets.kubernetes.route import Route

Object = dict[str, Any]
DEPLOYMENT: Object = {"metadata": {"namespace": "ns", "name": "llm", "uid": "1"}, "spec": {"template": {}}}
BROKEN = Failure(Cause.CRASH_UNDER_LOAD, "streams broke")


class Cluster:
    """A Deployment as it was, one pod, and a log that can't be read."""

    outage_s = 0.0

    def __init__(self, metadata: Object, status: Object) -> None:
        self._pod = {"metadata": {"name": "p", **metadata}, "spec": {"nodeName": "n"}, "status": status}

    async def find(self, resource: Resource, *_: str) -> Object:
        return DEPLOYMENT if resource is DEPLOYMENTS else self._pod

    async def log(self, *_: str, **__: Any) -> str:
        raise Unreachable(0, "get pods/log of p: HTTP 502")


def killed(code: int, reason: str = "Error") -> Object:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"phase": "Running", "containerStatuses": [{"name": "engine", "state": state, "restartCount": 0}]}


@pytest.mark.parametrize(
    ("metadata", "status", "cause"),
    [
        ({}, killed(137), Cause.CRASH_UNDER_LOAD),
        ({}, killed(137, "OOMKilled"), Cause.HOST_OOM),
        ({"deletionTimestamp": "now"}, killed(137), Cause.EXTERNAL_CHANGE),
        ({"deletionTimestamp": "now"}, killed(0), Cause.EXTERNAL_CHANGE),
        (
            {},
            {**killed(137), "phase": "Failed", "reason": "Terminated", "message": "imminent node shutdown"},
            Cause.EXTERNAL_CHANGE,
        ),
        ({}, {**killed(137), "phase": "Failed", "reason": "Evicted", "message": "low on memory"}, Cause.HOST_OOM),
    ],
)
async def test_what_ends_a_whole_pod_is_not_blamed_on_its_engine(
    metadata: Object, status: Object, cause: Cause
) -> None:
    start = Start(DEPLOYMENT, "engine", VLLM, Route(8000))
    told = await diagnose(Cluster(metadata, status), start, Ready(PodState("p"), "tiny"), BROKEN)  # type: ignore[arg-type]
    assert told.cause is cause
    assert told is not BROKEN
