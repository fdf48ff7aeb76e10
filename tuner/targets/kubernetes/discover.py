"""Finding the engines of a namespace, and saying what speaks against tuning one; nothing is changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.core.errors import InvalidInput, Refused
from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer, Shape, UnsupportedShape, find_engine
from tuner.targets.kubernetes import copies, fields, owners
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import NotFound
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.permissions import missing
from tuner.targets.kubernetes.resources import DEPLOYMENTS
from tuner.targets.kubernetes.snapshot import Snapshot, stored


@dataclass(frozen=True)
class Found:
    """A Deployment that runs an engine. `container` is None where its flags can't be edited (`shape` says why)."""

    name: str
    engine: Engine
    container: EngineContainer | None
    shape: str = ""

    def __str__(self) -> str:
        if self.container is None:
            return f"{self.name} ({self.engine.name}; can't be tuned: {self.shape})"
        return f"{self.name} ({self.engine.name}, container {self.container.name}, {self.container.image})"


@dataclass(frozen=True)
class Examination:
    """One Deployment as found, and all that speaks against tuning it.

    `deployment` is what it was before a study changed it.
    """

    deployment: Object
    found: Found
    refusals: tuple[str, ...]
    notes: tuple[str, ...]


async def discover(client: Client, namespace: str, engines: Sequence[Engine]) -> list[Found]:
    """All Deployments of a namespace that run one of `engines`, by name."""
    deployments = await client.list(DEPLOYMENTS, namespace)
    found = [recognise(deployment, engines) for deployment in deployments]
    return sorted((one for one in found if one is not None), key=lambda one: one.name)


async def choose(client: Client, namespace: str, engines: Sequence[Engine]) -> str:
    """The name of the only engine in a namespace. Raises InvalidInput where there is none or several to choose from."""
    found = await discover(client, namespace, engines)
    tunable = [one for one in found if one.container is not None]
    if len(tunable) == 1:
        return tunable[0].name
    names = "".join(f"\n  {one}" for one in found)
    if not found:
        kinds = " or ".join(engine.name for engine in engines)
        raise InvalidInput(f"namespace {namespace}: no Deployment runs {kinds}; -n names another namespace")
    if not tunable:
        raise Refused(f"namespace {namespace}: no engine whose flags can be edited:{names}")
    raise InvalidInput(f"namespace {namespace}: several engines; name one of them:{names}")


async def examine(
    client: Client, namespace: str, name: str, engines: Sequence[Engine], study: str | None = None
) -> Examination:
    """Look at one Deployment from every side.

    `study` is the study that asks: what an earlier run of it left is looked through to the original.
    Raises Refused where there is no such Deployment or it runs none of `engines`.
    """
    try:
        live = await client.get(DEPLOYMENTS, namespace, name)
    except NotFound as error:
        raise Refused(f"there is no Deployment {name} in namespace {namespace}") from error
    snapshot = stored(live) or await copies.in_force(client, live)
    deployment = original(live, snapshot)
    found = recognise(deployment, engines, named=True)
    if found is None:
        kinds = " or ".join(engine.name for engine in engines)
        raise Refused(f"Deployment {name} does not run {kinds}")
    refusals, notes = owners.writers(deployment)
    scaled = await owners.scalers(client, deployment)
    lacking = await missing(client, namespace)
    refusals = [*_leftover(namespace, name, snapshot, study), *_unfit(found), *_state(deployment), *refusals, *scaled]
    refusals += [f"the tuner's account may not {right}" for right in lacking if not right.optional]
    notes += [f"the tuner's account may not {right}" for right in lacking if right.optional]
    return Examination(deployment, found, tuple(refusals), tuple(notes))


def recognise(deployment: Object, engines: Sequence[Engine], *, named: bool = False) -> Found | None:
    """Which engine a Deployment runs; None where it runs none of them.

    Where it was `named` outright, a container that could hide the engine (a script of a custom image) is taken for it.
    """
    name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
    for engine in engines:
        try:
            return Found(name, engine, find_engine(template, engine.owns, engine.syntax()))
        except UnsupportedShape as error:
            hidden = named and error.unsupported.shape is not Shape.NO_ENGINE
            if hidden or any(_owned(container, engine) for container in template["spec"]["containers"]):
                return Found(name, engine, None, str(error))
    return None


def original(live: Object, snapshot: Snapshot | None) -> Object:
    """The Deployment as it was before a study changed it."""
    if snapshot is None:
        return live
    before = copy.deepcopy(live)
    fields.put(before, snapshot.container, {name: snapshot.original.get(name) for name in snapshot.temporary})
    return before


def _owned(container: Object, engine: Engine) -> bool:
    argv = [str(item) for item in [*(container.get("command") or []), *(container.get("args") or [])]]
    return engine.owns(container.get("image") or "", argv)


def _leftover(namespace: str, name: str, snapshot: Snapshot | None, study: str | None) -> list[str]:
    if snapshot is None or snapshot.study == study:
        return []
    return [
        f"the study {snapshot.study} changed it at {snapshot.taken} and has not restored it: resume that study, or put "
        f"it back with 'tuner restore -n {namespace} {name}'"
    ]


def _unfit(found: Found) -> list[str]:
    if found.container is None:
        return [found.shape]
    return [found.container.hardware_refusal] if found.container.hardware_refusal else []


def _state(deployment: Object) -> list[str]:
    spec = deployment["spec"]
    refusals = []
    replicas = spec.get("replicas", 1)
    if replicas != 1:
        refusals.append(
            f"it has {replicas} replicas; the tuner measures one engine at a time: "
            + ("start it first" if replicas == 0 else "tune a copy with one replica, and scale the result")
        )
    if spec.get("paused"):
        refusals.append("its rollouts are paused; resume it first (kubectl rollout resume)")
    if deployment["metadata"].get("deletionTimestamp"):
        refusals.append("it is being deleted")
    return refusals
