"""A pod's status, read as evidence. The statuses are as Kubernetes 1.34 writes them."""

from __future__ import annotations

from typing import Any

import pytest

from tuner.core.cause import Cause
from tuner.targets.kubernetes.pods import PodState, read_pod, setup_failure

Object = dict[str, Any]
RUNNING = {"running": {"startedAt": "2026-11-22T04:00:00Z"}}


def ended(code: int, reason: str = "Error", message: str = "") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def pod(state: Object | None = None, last: Object | None = None, restarts: int = 0, **status: Any) -> PodState:
    container = {"name": "engine", "state": state or {}, "lastState": last or {}, "restartCount": restarts}
    beside = status.pop("beside", {"name": "beside", "state": RUNNING})
    body = {"phase": "Running", "containerStatuses": [beside, container], **status}
    return read_pod({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": body}, "engine")


def test_a_running_container_has_ended_no_run() -> None:
    state = pod(RUNNING)
    assert (state.running, state.crash, state.ends) == (True, None, 0)


@pytest.mark.parametrize(
    ("state", "last", "restarts", "ends"),
    [
        (ended(1), None, 0, 1),  # just ended
        (RUNNING, ended(1), 1, 1),  # started again at once
        (ended(1), ended(1), 1, 2),
        (waiting("CrashLoopBackOff"), ended(1), 1, 2),
        (RUNNING, ended(1), 2, 2),
    ],
)
def test_runs_that_ended_are_counted_whatever_the_kubelet_shows(
    state: Object, last: Object | None, restarts: int, ends: int
) -> None:
    seen = pod(state, last, restarts)
    assert seen.ends == ends
    assert seen.crash is not None
    assert seen.crash.code == 1


def test_an_out_of_memory_kill_with_exit_code_0_is_still_one() -> None:
    crash = pod(ended(0, "OOMKilled")).crash
    assert crash is not None
    assert (crash.code, crash.reason) == (0, "OOMKilled")


@pytest.mark.parametrize(
    ("state", "quote"),
    [
        (waiting("ErrImageNeverPull", 'Container image "x" is not present'), "is not present"),
        (waiting("ImagePullBackOff", "Back-off pulling image"), "ImagePullBackOff"),
        (waiting("CreateContainerConfigError", 'secret "nope" not found'), 'secret "nope" not found'),
        (waiting("InvalidImageName"), "InvalidImageName"),
        (ended(128, "StartError", "exec: vllm: not found"), "exec: vllm: not found"),
    ],
)
def test_what_stops_a_container_from_being_made_is_no_fault_of_the_engine(state: Object, quote: str) -> None:
    failure = setup_failure(pod(state))
    assert failure is not None
    assert failure.cause is Cause.IMAGE_OR_CONFIG
    assert quote in failure.message


@pytest.mark.parametrize("state", [RUNNING, waiting("ContainerCreating"), waiting("CrashLoopBackOff"), ended(1), {}])
def test_an_engines_own_end_is_no_setup_failure(state: Object) -> None:
    assert setup_failure(pod(state)) is None


def test_an_init_container_that_keeps_failing_is_named() -> None:
    init = {"name": "fetch", "state": waiting("CrashLoopBackOff"), "lastState": ended(3, message="no such model")}
    failure = setup_failure(pod(waiting("PodInitializing"), initContainerStatuses=[init]))
    assert failure is not None
    assert "fetch" in failure.message
    assert "no such model" in failure.message


@pytest.mark.parametrize(
    ("message", "cause"),
    [("The node was low on resource: memory.", Cause.HOST_OOM), ("The node was low on disk", Cause.EXTERNAL_CHANGE)],
)
def test_an_eviction_is_told_by_its_reason(message: str, cause: Cause) -> None:
    failure = setup_failure(pod(ended(137), reason="Evicted", message=message))
    assert failure is not None
    assert failure.cause is cause


def test_the_schedulers_message_is_kept() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    raw = {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": "Pending", "conditions": [condition]}}
    state = read_pod(raw, "engine")
    assert (state.scheduled, state.unschedulable, state.phrase) == (False, "0/1 nodes", "waiting to be scheduled")
