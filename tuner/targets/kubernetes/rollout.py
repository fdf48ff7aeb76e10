"""One start followed from our patch to an engine that serves, or to the cause of its failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.engines.engine import Engine, Exit
from tuner.targets.kubernetes import replicas
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.external import fail_if_changed
from tuner.targets.kubernetes.fields import Object, container_of
from tuner.targets.kubernetes.pods import Ended, PodState, blame, read_pod, setup_failure, taken_away
from tuner.targets.kubernetes.probes import impatient
from tuner.targets.kubernetes.resources import DEPLOYMENTS
from tuner.targets.kubernetes.route import Route, no_route
from tuner.targets.kubernetes.serving import Health, Serving
from tuner.targets.target import Progress

_POLL_S = 0.5
# The scheduler may see a pod before the one that it replaces has given its GPU back, and tries again after 1 and 3 s.
_UNSCHEDULABLE_GRACE_S = 4.0
# An engine that can't be connected to is given this long after its pod became ready.
_NO_ROUTE_GRACE_S = 15.0
# A log that stands still this long after naming a fatal error belongs to an engine that is dead inside its container.
_SILENCE_S = 3.0
_LOG_LINES = 1000
_NAMELESS = frozenset({Cause.CRASH_AT_START, Cause.UNKNOWN})
_FATAL = frozenset({Cause.BAD_FLAG, Cause.KV_CACHE_TOO_SMALL, Cause.GPU_OOM_AT_START})


@dataclass(frozen=True)
class Start:
    """What was started: the object that our patch returned, and the engine's container."""

    deployment: Object
    container: str
    engine: Engine
    route: Route


@dataclass(frozen=True)
class Ready:
    """A started engine: its pod, and the name of the model that it serves."""

    pod: PodState
    model: str


class Rollout:
    """Follows one start. `check` is called at each look and raises where the study must stop (a lost lease)."""

    def __init__(self, client: Client, start: Start, deadline_s: float, progress: Progress, check: Callable[[], None]):
        self._client, self._start, self._check, self._progress = client, start, check, progress
        self._deadline_s = deadline_s
        self._namespace = start.deployment["metadata"]["namespace"]
        self._name = start.deployment["metadata"]["name"]
        self._began = time.monotonic()
        self._outage_s = client.outage_s
        self._since: dict[str, float] = {}
        self._said = ""
        self._serving: Serving | None = None
        self._log = ""
        self._problem = ""
        self._connected = False
        self._container = container_of(start.deployment, start.container)
        self._forgiven = 0
        self._ended_before: frozenset[str] | None = None

    async def wait(self) -> Ready:
        """Until the engine serves. Raises TrialFailed with the cause within seconds of its evidence."""
        try:
            while True:
                self._check()
                ready = await self._look()
                if ready is not None:
                    return ready
                await asyncio.sleep(_POLL_S)
        finally:
            if self._serving is not None:
                await self._serving.close()

    async def _look(self) -> Ready | None:
        deployment = await self._client.find(DEPLOYMENTS, self._namespace, self._name)
        fail_if_changed(self._start.deployment, deployment)
        assert deployment is not None
        replicaset = await self._replicaset(deployment)
        pod = await self._pod(replicaset) if replicaset is not None else None
        if pod is None:
            self._say("waiting for the old pod to end")
            self._fail_if_refused(replicaset)
            self._fail_if_absent(deployment)
            return None
        self._since.setdefault("pod", time.monotonic())
        await self._fail_if_broken(pod)
        ready = await self._serves(pod) if pod.running and pod.ip else None
        if ready is None:
            self._say(self._phrase(pod))
            await self._fail_if_dead_inside(pod)
            await self._fail_if_late(pod)
        return ready

    async def _replicaset(self, deployment: Object) -> Object | None:
        found = await replicas.replicasets(self._client, deployment)
        return next((one for one in found if replicas.is_current(one, self._start.deployment)), None)

    async def _pod(self, replicaset: Object) -> PodState | None:
        found = [read_pod(pod, self._start.container) for pod in await replicas.pods(self._client, replicaset)]
        if self._ended_before is None:
            # An earlier run of the same template may have left pods that its node ended, for as long as it likes.
            self._ended_before = frozenset(pod.name for pod in found if pod.ended_by_node)
        left = [pod for pod in found if not pod.deleting and pod.name not in self._ended_before]
        # One that its node turned away stays beside the pod that replaces it.
        return min(left, key=lambda pod: (not pod.ended_by_node, bool(pod.unschedulable)), default=None)

    def _fail_if_refused(self, replicaset: Object | None) -> None:
        """Pods that the API server does not accept: quotas, policies, webhooks.

        The Deployment has this condition too, for a while also of the ReplicaSet before.
        """
        status = replicaset.get("status") or {} if replicaset is not None else {}
        for condition in status.get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                message = condition.get("message", "")
                cause = Cause.UNSCHEDULABLE if "exceeded quota" in message else Cause.IMAGE_OR_CONFIG
                raise TrialFailed(Failure(cause, f"the pod was refused: {message}"))

    def _fail_if_absent(self, deployment: Object) -> None:
        grace = deployment["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        if self._elapsed() > grace + 60.0 + self._deadline_s:
            message = "no pod was made for the new settings: the old one did not end, or the controller does not act"
            raise TrialFailed(Failure(Cause.UNKNOWN, message, str(deployment.get("status", {}).get("conditions"))))

    async def _fail_if_broken(self, pod: PodState) -> None:
        failure = taken_away(pod) or setup_failure(pod)
        if failure is not None:
            raise TrialFailed(failure)
        if not pod.unschedulable:
            self._since.pop("unschedulable", None)
        elif self._for("unschedulable") > _UNSCHEDULABLE_GRACE_S:
            raise TrialFailed(Failure(Cause.UNSCHEDULABLE, pod.unschedulable))
        if pod.crash is not None and pod.ends > self._forgiven:
            await self._crashed(pod, pod.crash)

    async def _crashed(self, pod: PodState, run: Ended) -> None:
        log = await self._last_words(pod) or run.message
        if not self._forgiven and self._start.engine.may_pass(log):
            # Worth another start, which the kubelet makes by itself after its back-off, before the candidate is blamed.
            self._forgiven = pod.ends
            self._say("GPU memory was not free yet; started again")
            return
        failure = blame(self._start.engine, log, run, under_load=False)
        spec = self._start.deployment["spec"]["template"]["spec"]
        probe = impatient(self._container, spec.get("terminationGracePeriodSeconds"), run)
        if failure.cause in _NAMELESS and probe is not None:
            message = f"the kubelet ended it after {run.ran_s:.0f} s without an answer: {probe}"
            raise TrialFailed(Failure(Cause.SLOW_START, message, failure.evidence))
        raise TrialFailed(failure)

    async def _last_words(self, pod: PodState) -> str:
        """The log of the run that ended, also where the container has been started again since we looked."""
        log = await self._read_log(pod, previous=pod.log_is_previous)
        if pod.log_is_previous or pod.ends > 1 or self._engine_names(log):
            return log
        return await self._read_log(pod, previous=True) or log

    def _engine_names(self, log: str) -> bool:
        return self._start.engine.diagnose(log, Exit(1), under_load=False).cause not in _NAMELESS

    async def _serves(self, pod: PodState) -> Ready | None:
        """Ready where the pod is and the engine answers, to its last consequence."""
        base = self._start.route.base(pod.ip)
        if self._serving is None or self._serving.base != base:
            if self._serving is not None:
                await self._serving.close()
            self._serving = self._start.route.serving(pod.ip)
        health = await self._serving.health()
        if not health.ok:
            self._problem = f"/health: {health.problem}"
            self._connected = self._connected or health.connected
            self._fail_if_out_of_reach(pod, health)
            return None
        self._connected = True
        if not pod.ready:
            self._problem = "the engine answers, but its readinessProbe does not succeed"
            return None
        self._say("engine answers; first completion")
        model = await self._serving.model()
        if model is None:
            self._problem = "/v1/models names no model"
            return None
        self._problem = await self._serving.complete(model) or ""
        return None if self._problem else Ready(pod, model)

    def _fail_if_out_of_reach(self, pod: PodState, health: Health) -> None:
        """The kubelet reaches an engine that we do not. Without a readinessProbe a pod is ready while it loads."""
        refused = bool(self._container.get("readinessProbe")) and not self._connected
        if not (pod.ready and (health.unroutable or refused)):
            self._since.pop("no route", None)
        elif self._for("no route") > _NO_ROUTE_GRACE_S:
            raise no_route(self._start.route.base(pod.ip), health)

    async def _fail_if_dead_inside(self, pod: PodState) -> None:
        """A wrapper can outlive its engine: then the pod looks fine, and only the log says what happened."""
        if not pod.running or self._for("log") < 2.0:
            return
        self._since["log"] = time.monotonic()
        log = await self._read_log(pod)
        if log != self._log:
            self._log = log
            self._since["silence"] = time.monotonic()
        elif log and self._for("silence") > _SILENCE_S:
            failure = self._start.engine.diagnose(log, Exit(None), under_load=False)
            if failure.cause in _FATAL:
                raise TrialFailed(failure)

    async def _fail_if_late(self, pod: PodState) -> None:
        if time.monotonic() - self._since["pod"] - self._outages() <= self._deadline_s:
            return
        log = await self._read_log(pod)
        failure = self._start.engine.diagnose(log, Exit(None), under_load=False) if log else None
        if failure is not None and failure.cause in _FATAL:
            raise TrialFailed(failure)
        where = self._problem or self._phrase(pod)
        last = self._start.engine.redact("\n".join(log.splitlines()[-20:]))
        raise TrialFailed(Failure(Cause.SLOW_START, f"not serving after {self._deadline_s:.0f} s ({where})", last))

    async def _read_log(self, pod: PodState, previous: bool = False) -> str:
        return await self._client.log(
            self._namespace, pod.name, self._start.container, previous=previous, tail=_LOG_LINES
        )

    def _phrase(self, pod: PodState) -> str:
        return pod.phrase if not pod.running or not self._problem.startswith("the engine") else self._problem

    def _say(self, phrase: str) -> None:
        if phrase != self._said:
            self._said = phrase
            self._progress(phrase)

    def _for(self, state: str) -> float:
        """Seconds since `state` was first asked about."""
        return time.monotonic() - self._since.setdefault(state, time.monotonic())

    def _elapsed(self) -> float:
        return time.monotonic() - self._began - self._outages()

    def _outages(self) -> float:
        return self._client.outage_s - self._outage_s
