"""What the engine of a Deployment is, put together from its manifest, its pod, its log and its own words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tuner.core.errors import InvalidInput, Refused
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value
from tuner.core.target import TargetInfo
from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer
from tuner.podspec.image import tag_version
from tuner.targets.kubernetes import changes, replicas
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.discover import examine
from tuner.targets.kubernetes.fields import Fields, Object, container_of
from tuner.targets.kubernetes.hardware import gpu_of
from tuner.targets.kubernetes.model import model_of, positional_model
from tuner.targets.kubernetes.pods import PodState, read_pod
from tuner.targets.kubernetes.route import Route, no_route, port_of

_TRIES, _AGAIN_S = 3, 0.5


@dataclass(frozen=True)
class Inspection:
    """A Deployment before a study changed it, its engine's container as read, and how the engine is reached.

    `baseline` are the knobs that its command line sets, `settings` what it sets beside them.
    """

    deployment: Object
    engine: Engine
    container: EngineContainer
    baseline: Candidate
    settings: dict[str, Value]
    version: str | None
    route: Route
    info: TargetInfo

    def values(
        self, candidate: Candidate, deadline_s: float = 0.0, *, mark: str | None = None, prunes: bool = False
    ) -> Fields:
        """The fields of a start with `candidate`: of a trial with a `mark`, else of one that stays.

        `prunes` is set where the ReplicaSets of trials are deleted afterwards.
        """
        name = self.container.name
        return changes.for_start(
            self.deployment,
            name,
            self.engine.syntax(),
            self.engine.spell(candidate, self.baseline, fixed=self.settings, version=self.version),
            deadline_s=deadline_s,
            mark=mark,
            recreate=mark is not None or changes.deadlocks(self.deployment, name),
            gpus=changes.gpus_for(self.deployment, name, self.baseline, candidate),
            keep_history=mark is not None and prunes,
        )


async def inspect(
    client: Client,
    namespace: str,
    name: str,
    engine: Engine,
    *,
    study: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
) -> Inspection:
    """Look at a Deployment; nothing is changed. Raises Refused with all that speaks against tuning it.

    What an earlier run of `study` left on it is looked through.
    """
    seen = await examine(client, namespace, name, [engine], study)
    if seen.refusals:
        raise Refused(_told(name, seen.refusals))
    container = seen.found.container
    assert container is not None  # examine refuses otherwise
    try:
        baseline, settings = engine.read(container.readable)
        route = Route(port_of(engine, container), endpoint, api_key)
    except InvalidInput as error:
        raise Refused(_told(name, error.problems)) from error
    pod = await current_pod(client, seen.deployment, container.name)
    log = await client.log(namespace, pod.name, container.name) if pod else ""
    said = engine.facts(log, "")
    version = await _reported_version(route, pod) or said.version or tag_version(container.image)
    # What asks for no GPU may have one all the same, by its runtime class or CDI.
    on_cpu = engine.on_cpu(log) or (not container.gpu_count and engine.for_cpu(container.image, container.env_names))
    gpu, note = (None, "") if on_cpu else await gpu_of(client, seen.deployment, pod.node if pod else "")
    model = _model(container, settings, said)
    notes = [*seen.notes, note, "" if model else _NAMELESS]
    info = TargetInfo(
        name=f"{namespace}/{name}",
        engine=engine.name,
        version=version,
        model=model,
        model_shape=model_of(model),
        gpu=gpu,
        gpu_count=container.gpu_count or (0 if on_cpu else int(baseline.get("tensor_parallel_size", 1))),
        baseline=baseline,
        image=container.image,
        uid=seen.deployment["metadata"]["uid"],
        fixed=settings,
        pinned=changes.pinned(container, engine, baseline),
        on_cpu=on_cpu,
        notes=tuple(filter(None, notes)),
    )
    return Inspection(seen.deployment, engine, container, baseline, settings, version, route, info)


async def current_pod(client: Client, deployment: Object, container: str) -> PodState | None:
    """The pod that runs now, if any."""
    for replicaset in await replicas.replicasets(client, deployment):
        for pod in await replicas.pods(client, replicaset):
            state = read_pod(pod, container)
            if state.ip and not state.deleting and not state.ended_by_node:
                return state
    return None


async def fail_without_route(client: Client, seen: Inspection) -> None:
    """Raise Refused where an engine that is ready can't be reached, before a study has restarted it for nothing."""
    pod = await current_pod(client, seen.deployment, seen.container.name)
    if pod is None or not pod.ready:
        return
    serving = seen.route.serving(pod.ip)
    try:
        for left in reversed(range(_TRIES)):
            health = await serving.health()
            # Without a readinessProbe a pod is ready while it loads; one that is busy may take its time to answer.
            probed = "readinessProbe" in container_of(seen.deployment, seen.container.name)
            if health.ok or not (health.unroutable or (probed and (health.answered or not health.connected))):
                return
            if not left:
                raise no_route(serving.base, health)
            await asyncio.sleep(_AGAIN_S)
    finally:
        await serving.close()


_NAMELESS = "the model is named neither on the command line nor in the log; name it in the study"


def _told(name: str, reasons: tuple[str, ...]) -> str:
    return f"{name} can't be tuned as it is:\n" + "\n".join(f"  {reason}" for reason in reasons)


def _model(container: EngineContainer, settings: dict[str, Value], said: EngineFacts) -> str:
    """The model's name or path; empty where nobody names it."""
    return str(settings.get("model") or positional_model(container.argv) or said.model or "")


async def _reported_version(route: Route, pod: PodState | None) -> str | None:
    """The version that a ready engine reports."""
    if pod is None or not pod.ready:
        return None
    serving = route.serving(pod.ip)
    try:
        return await serving.version()
    finally:
        await serving.close()
