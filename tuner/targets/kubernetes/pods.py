"""One pod as evidence: what its status says of the engine's container, and which failure that is, if any."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tuner.core.cause import Cause, Failure
from tuner.engines.engine import Engine, Exit
from tuner.targets.kubernetes.fields import Object

_IMAGE_OR_CONFIG = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
# The runtime's words for a process that could not even be executed.
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})


@dataclass(frozen=True)
class Ended:
    """How a run of the container ended. `message` is the status's own (the log's end under FallbackToLogsOnError).

    `ran_s` is how long it lasted, in whole seconds; None: unknown.
    """

    code: int | None
    reason: str
    message: str = ""
    ran_s: float | None = None

    @property
    def exit(self) -> Exit:
        """In the engine's terms."""
        return Exit(self.code, self.reason)

    def __str__(self) -> str:
        return f"exit code {self.code}" + (f" ({self.reason})" if self.reason and self.reason != "Error" else "")


@dataclass(frozen=True)
class PodState:
    """A pod's status, as far as the engine's container goes.

    `unschedulable` is why no node takes it, `setup` the trouble of its other containers, `ended_by_node` why its node
    ended it as a whole; empty where there is none.
    """

    name: str
    ip: str = ""
    node: str = ""
    scheduled: bool = False
    unschedulable: str = ""
    waiting: str = ""
    waiting_message: str = ""
    running: bool = False
    ready: bool = False
    ended: Ended | None = None  # the current run
    before: Ended | None = None  # the run before the current one
    restarts: int = 0
    setup: str = ""
    ended_by_node: str = ""
    deleting: bool = False

    @property
    def crash(self) -> Ended | None:
        """How the last run that ended did; None where the first one still lasts."""
        return self.ended or self.before

    @property
    def ends(self) -> int:
        """How many runs of the container have ended; restarts count only those that were followed by another."""
        return self.restarts + int(self.ended is not None or (not self.running and self.before is not None))

    @property
    def log_is_previous(self) -> bool:
        """Whether the log of `crash` is that of the run before."""
        return self.ended is None

    @property
    def phrase(self) -> str:
        """Where the pod is, in a few words."""
        if not self.scheduled or self.unschedulable:
            return "waiting to be scheduled"
        if self.running:
            return "engine starting"
        if self.ends:
            return "container restarting"
        return "pulling the image" if self.waiting in ("", "Pulling") else "creating the container"


def read_pod(pod: Object, container: str) -> PodState:
    """Read a pod's status."""
    status = pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    statuses = {s["name"]: s for s in status.get("containerStatuses") or []}
    engine = statuses.pop(container, {})
    state = engine.get("state") or {}
    waiting = state.get("waiting") or {}
    others = [*(status.get("initContainerStatuses") or []), *statuses.values()]
    given_up = _given_up(status)
    # Devices that the pod before has not given back yet: the node turns a pod away before it makes a container of it.
    turned_away = given_up if given_up and not any(_began(one) for one in (engine, *others)) else ""
    return PodState(
        name=pod["metadata"]["name"],
        ip=status.get("podIP") or "",
        node=(pod.get("spec") or {}).get("nodeName") or "",
        scheduled=scheduled.get("status") == "True" or bool((pod.get("spec") or {}).get("nodeName")),
        unschedulable=(scheduled.get("message") or "") if scheduled.get("reason") == "Unschedulable" else turned_away,
        waiting=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        running="running" in state,
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        ended=_ended(state),
        before=_ended(engine.get("lastState") or {}),
        restarts=engine.get("restartCount") or 0,
        setup="; ".join(filter(None, (_trouble(other) for other in others))),
        ended_by_node="" if turned_away else given_up,
        deleting="deletionTimestamp" in pod["metadata"],
    )


def taken_away(pod: PodState) -> Failure | None:
    """The end of a pod as a whole, whatever its containers say of theirs: by its node, or by somebody."""
    if pod.ended_by_node:
        memory = pod.ended_by_node.startswith("Evicted") and "memory" in pod.ended_by_node.lower()
        cause = Cause.HOST_OOM if memory else Cause.EXTERNAL_CHANGE
        return Failure(cause, f"its node ended the pod {pod.name}: {pod.ended_by_node}")
    return Failure(Cause.EXTERNAL_CHANGE, f"the pod {pod.name} is being deleted") if pod.deleting else None


def setup_failure(pod: PodState) -> Failure | None:
    """A failure for which the engine can't be to blame: its image, its configuration, other containers."""
    if pod.waiting in _IMAGE_OR_CONFIG:
        return Failure(
            Cause.IMAGE_OR_CONFIG, f"{pod.waiting}: {pod.waiting_message or 'the container can not be made'}"
        )
    for run in (pod.ended, pod.before):
        if run is not None and run.reason in _NEVER_RAN:
            return Failure(Cause.IMAGE_OR_CONFIG, f"{run.reason}: {run.message or 'the command can not be executed'}")
    return Failure(Cause.IMAGE_OR_CONFIG, pod.setup) if pod.setup else None


def blame(engine: Engine, log: str, run: Ended, under_load: bool) -> Failure:
    """The cause of a run's end. The platform's word on memory counts more than a log that was cut off."""
    failure = engine.diagnose(log, run.exit, under_load)
    if run.reason != "OOMKilled" or failure.cause is Cause.HOST_OOM:
        return failure
    evidence = failure.evidence or engine.redact("\n".join(log.splitlines()[-20:]))
    return Failure(Cause.HOST_OOM, f"killed for using more memory than the container's limit ({run})", evidence)


def _ended(state: Object) -> Ended | None:
    run = state.get("terminated")
    if run is None:
        return None
    began, ended = (datetime.fromisoformat(run[at]) if run.get(at) else None for at in ("startedAt", "finishedAt"))
    ran_s = (ended - began).total_seconds() if began and ended else None
    return Ended(run.get("exitCode"), run.get("reason") or "", (run.get("message") or "").strip(), ran_s)


def _given_up(status: Object) -> str:
    """Why a node has given up a pod (one whose containers are restarted fails in no other way); empty: it has not."""
    if status.get("phase") != "Failed":
        return ""
    return ": ".join(filter(None, (status.get("reason"), status.get("message")))) or "it failed"


def _began(status: Object) -> bool:
    """Whether a container has ever been made."""
    return bool((status.get("state") or {}).keys() - {"waiting"} or status.get("lastState"))


def _trouble(status: Object) -> str:
    """What is wrong with a container other than the engine's."""
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    name = status["name"]
    if waiting.get("reason") in _IMAGE_OR_CONFIG:
        return f"container {name}: {waiting['reason']}: {waiting.get('message', '')}"
    failed = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if failed.get("exitCode") and waiting.get("reason") == "CrashLoopBackOff":
        return f"container {name} keeps failing (exit code {failed['exitCode']}): {failed.get('message', '')}".rstrip(
            ": "
        )
    return ""
