"""Failures made for real with the stand-in engine, and how long after their evidence the tuner names the cause."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.e2e.support.deployment import Deployed, Document, container
from tests.e2e.support.target import acquired
from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.knob import Candidate, Value
from tuner.core.request import LevelPlan, PlannedRequest
from tuner.core.workload import Api, Load
from tuner.engines.vllm import VLLM
from tuner.probe.client.driver import http_driver
from tuner.targets.kubernetes.deployment import KubernetesTarget

Edit = Callable[[Document], None]
_CLIENTS = 8
_UNDER_LOAD_S = 60.0
_SHOWN_S = 30.0


@dataclass(frozen=True)
class Case:
    """One failure. `evidence` is what it is counted from: exit (of the container), unschedulable, or pod (created)."""

    name: str
    cause: Cause
    words: str  # that the message must have, from whoever knows
    edit: Edit
    candidate: Candidate = Candidate.of(max_num_seqs=8)  # noqa: RUF009 - frozen
    evidence: str = "exit"
    under_load: bool = False
    deadline_s: float = 60.0


@dataclass(frozen=True)
class Named:
    """What the tuner said, and how many seconds after the evidence."""

    failure: Failure
    after_s: float


def _nothing(_: Document) -> None:
    return


def _simulated(**settings: str) -> Edit:
    def edit(deployment: Document) -> None:
        container(deployment)["env"] += [
            {"name": f"TUNER_SIM_{name}", "value": text} for name, text in settings.items()
        ]

    return edit


def _argument(text: str) -> Edit:
    return lambda deployment: container(deployment)["args"].append(text)


def _gpus(deployment: Document) -> None:
    for part in container(deployment)["resources"].values():
        part["nvidia.com/gpu"] = 99


def _image(deployment: Document) -> None:
    container(deployment).update(image="localhost/vllm/vllm-openai:none", imagePullPolicy="Never")
    container(deployment)["command"] = ["vllm", "serve"]  # that it is an engine can't be told by such an image


def _memory(deployment: Document) -> None:
    container(deployment)["resources"]["requests"]["memory"] = "24Mi"
    container(deployment)["resources"]["limits"]["memory"] = "24Mi"


def _readiness(deployment: Document) -> None:
    container(deployment)["readinessProbe"]["httpGet"]["path"] = "/nowhere"


def _with(**settings: Value) -> Candidate:
    return Candidate.of(**settings)


CASES = (
    Case("a flag that the engine does not know", Cause.BAD_FLAG, "--swap-space", _argument("--swap-space=4")),
    Case("no memory left for the KV cache", Cause.KV_CACHE_TOO_SMALL, "", _nothing, _with(gpu_memory_utilization=0.2)),
    Case("GPU out of memory at start", Cause.GPU_OOM_AT_START, "out of memory", _simulated(FAIL="oom-at-start")),
    Case("a crash at start", Cause.CRASH_AT_START, "was told to fail", _simulated(FAIL="crash-at-start")),
    Case("more host memory than the limit", Cause.HOST_OOM, "memory", _memory),
    Case(
        "GPU out of memory under load", Cause.GPU_OOM_UNDER_LOAD, "out of memory", _simulated(FAIL="oom-under-load"),
        under_load=True,
    ),
    Case(
        "a crash under load", Cause.CRASH_UNDER_LOAD, "", _simulated(FAIL="crash-under-load"), under_load=True,
    ),
    Case("more GPUs than there are", Cause.UNSCHEDULABLE, "nvidia.com/gpu", _gpus, evidence="unschedulable"),
    Case("an image that is not there", Cause.IMAGE_OR_CONFIG, "vllm-openai:none", _image, evidence="pod"),
)  # fmt: skip
#: Here the evidence is time itself.
SLOW = (
    Case("never ready", Cause.SLOW_START, "not serving after 8 s", _simulated(FAIL="never-ready"), deadline_s=8.0),
    Case("a readinessProbe that never succeeds", Cause.SLOW_START, "readinessProbe", _readiness, deadline_s=8.0),
)


async def name(case: Case, deployed: Deployed) -> Named:
    """Let a Deployment made by `case.edit` fail, and put it back. Fails where the engine does not fail."""
    async with acquired(deployed) as target:
        with pytest.raises(TrialFailed) as caught:
            await _fail(case, target)
        failure = caught.value.failure
        after_s = await asyncio.to_thread(seconds_since, case.evidence, deployed)
    return Named(failure, after_s)


async def _fail(case: Case, target: KubernetesTarget) -> None:
    running = await target.apply(case.candidate, case.deadline_s, lambda _phrase: None)
    assert case.under_load, "the engine did not fail at its start"
    assert running.endpoint
    driver = http_driver(running.endpoint, running.model, api=Api.COMPLETIONS, api_key=None, counters=VLLM.counters)
    requests = tuple(PlannedRequest(i, 16, 16, text=f"{i} " + "the statement is used " * 4) for i in range(200))
    plan = LevelPlan(Load(concurrency=_CLIENTS), requests, (200,), timeout_s=30, max_s=_UNDER_LOAD_S)
    try:
        await driver.level(plan, lambda _records: False)
    except TrialFailed as failed:
        raise TrialFailed(await target.diagnose(failed.failure)) from failed
    finally:
        await driver.close()


def seconds_since(evidence: str, deployed: Deployed) -> float:
    """Seconds since the evidence, by the cluster's clock, which is this machine's; 0 where it came only afterwards.

    An engine can say what is wrong with it before its container ends, and one that ended may run again already.
    """
    now = datetime.datetime.now(datetime.UTC)
    end = time.monotonic() + _SHOWN_S
    while not (stamps := [stamp for pod in _pods(deployed) for stamp in _stamps(evidence, pod, deployed)]):
        assert time.monotonic() < end, f"no pod shows {evidence}: {[pod['status'] for pod in _pods(deployed)]}"
        time.sleep(0.3)
    return min((now - stamp).total_seconds() for stamp in stamps if stamp <= now) if min(stamps) <= now else 0.0


def _pods(deployed: Deployed) -> list[Document]:
    return list(deployed.kubectl.json("get", "pods")["items"])


def _stamps(evidence: str, pod: Document, deployed: Deployed) -> list[datetime.datetime]:
    if evidence == "pod":
        return [_time(pod["metadata"]["creationTimestamp"])]
    if evidence == "unschedulable":
        conditions = pod["status"].get("conditions", [])
        return [_time(c["lastTransitionTime"]) for c in conditions if c.get("reason") == "Unschedulable"]
    found = []
    for status in pod["status"].get("containerStatuses", []):
        for previous, state in ((False, status["state"]), (True, status.get("lastState", {}))):
            if "terminated" in state:
                found.append(_last_words(pod, previous, deployed) or _time(state["terminated"]["finishedAt"]))
    return found


def _last_words(pod: Document, previous: bool, deployed: Deployed) -> datetime.datetime | None:
    """When the log ends: to the microsecond, where the container's status has whole seconds."""
    options = ["--previous"] if previous else []
    try:
        log = deployed.kubectl("logs", pod["metadata"]["name"], "--tail=1", "--timestamps", *options)
    except AssertionError:
        return None
    gone = not log.strip() or log.startswith("unable to retrieve container logs")
    return None if gone else _time(log.split(" ", 1)[0])


def _time(text: str) -> datetime.datetime:
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    return datetime.datetime.fromisoformat(f"{whole}{dot}{fraction[:6]}+00:00")
