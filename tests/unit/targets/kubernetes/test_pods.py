"""A pod's status, read as evidence. The statuses are as Kubernetes 1.34 writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tuner.core.cause import Cause
from tuner.targets.kubernetes.pods import PodState, read_pod, setup_failure, taken_away
from tuner.targets.kubernetes.probes import impatient

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
    ("reason", "message", "cause"),
    [
        ("Evicted", "The node was low on resource: memory.", Cause.HOST_OOM),
        ("Evicted", "The node was low on disk", Cause.EXTERNAL_CHANGE),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", Cause.EXTERNAL_CHANGE),
    ],
)
def test_a_pod_that_its_node_ended_is_told_by_the_nodes_reason(reason: str, message: str, cause: Cause) -> None:
    failure = taken_away(pod(ended(137), phase="Failed", reason=reason, message=message))
    assert failure is not None
    assert failure.cause is cause
    assert f"{reason}: {message}" in failure.message


def test_a_pod_that_its_node_turned_away_was_never_started() -> None:
    message = "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu"
    status = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    state = read_pod({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": status}, "engine")
    assert state.unschedulable == f"UnexpectedAdmissionError: {message}"
    assert (state.phrase, taken_away(state)) == ("waiting to be scheduled", None)


PROBE = {"periodSeconds": 10, "failureThreshold": 6}


@pytest.mark.parametrize(
    ("container", "code", "seconds", "allowed"),
    [
        ({"startupProbe": PROBE}, 137, 60, "startupProbe allows 60 s"),
        ({"startupProbe": PROBE}, 0, 88, "startupProbe allows 60 s"),  # it took its time to end
        ({"startupProbe": {**PROBE, "initialDelaySeconds": 30}}, 143, 85, "startupProbe allows 90 s"),
        ({"livenessProbe": PROBE}, 143, 52, "livenessProbe allows 60 s"),
        ({"startupProbe": PROBE, "livenessProbe": {"periodSeconds": 1}}, 143, 5, None),
        ({"startupProbe": PROBE}, 1, 60, None),
        ({"startupProbe": PROBE}, 137, 20, None),
        ({"startupProbe": PROBE}, 137, 300, None),
        ({"readinessProbe": PROBE}, 137, 60, None),
    ],
)
def test_a_run_that_a_probe_ended_is_known_by_its_length(
    container: Object, code: int, seconds: int, allowed: str | None
) -> None:
    finished = datetime(2026, 11, 22, 4, 0, tzinfo=UTC) + timedelta(seconds=seconds)
    run = {"exitCode": code, "startedAt": "2026-11-22T04:00:00Z", "finishedAt": finished.isoformat()}
    crash = pod({"terminated": run}).crash
    assert crash is not None
    told = impatient(container, 30, crash)
    assert told == (allowed and f"its {allowed}")


def test_the_schedulers_message_is_kept() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    raw = {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": "Pending", "conditions": [condition]}}
    state = read_pod(raw, "engine")
    assert (state.scheduled, state.unschedulable, state.phrase) == (False, "0/1 nodes", "waiting to be scheduled")
