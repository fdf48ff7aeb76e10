"""Whether a study's result is still true today: what has changed since on its Deployment, and in what it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tuner.core.errors import InvalidInput, TunerError
from tuner.core.knob import Candidate, Value
from tuner.core.target import TargetInfo
from tuner.engines import engine_named
from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer
from tuner.store import StudyRecord
from tuner.study import units
from tuner.study.cluster import Cluster
from tuner.study.found import described
from tuner.study.standing import recommended
from tuner.study.traffic import Traffic, sent, served
from tuner.study.winner import differing, runs
from tuner.targets.kubernetes import copies
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.discover import original, recognise
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.hardware import gpu_of
from tuner.targets.kubernetes.inspection import current_pod
from tuner.targets.kubernetes.model import positional_model
from tuner.targets.kubernetes.pods import PodState
from tuner.targets.kubernetes.resources import DEPLOYMENTS
from tuner.targets.kubernetes.route import Route, port_of
from tuner.targets.kubernetes.snapshot import stored

# A page waits for this.
_PATIENCE_S = 5.0
# Engines, drivers and traffic have moved on by then, also where nothing of it can be seen.
_OLD = timedelta(days=90)
# The mean of fewer requests says little of what is usual.
_ENOUGH_REQUESTS = 300
_OTHER = 0.5
_NAMES = {
    "uid": "the Deployment",
    "model": "its model",
    "image": "its image",
    "version": "its version",
    "gpu": "its GPU",
}
#: What is told of a fact that has changed, by its name in `described`.
_WORDS = {
    "uid": "the Deployment that was measured is gone: the one that runs now was made anew under its name",
    "model": "it serves {now} now, and {before} was measured",
    "image": "it runs the image {now} now, and {before} was measured",
    "version": "the engine is of version {now} now, and {before} was measured",
    "gpu": "it runs on {now} now, and {before} was measured",
}


@dataclass(frozen=True)
class Today:
    """A study's Deployment as it is now.

    `info` is None, and a fact of it empty (None, 0), where it could not be told. `sent` is what the study measured
    with, `served` what the engine has served since its start; both None where they are not to be compared. `notes` are
    sentences on what is gone or could not be told.
    """

    info: TargetInfo | None = None
    sent: Traffic | None = None
    served: Traffic | None = None
    notes: tuple[str, ...] = ()


def stale(study: StudyRecord, today: Today, now: datetime) -> list[str]:
    """Why a study's result may not hold any more, one sentence each; none: nothing speaks against it.

    A Deployment that runs the study's own winner is not changed. `now` is aware.
    """
    info = today.info
    found = [] if info is None else [*_facts(study, info), *_flags(study, info), *_fixed(study, info)]
    return [*found, *_traffic(today.sent, today.served), *today.notes, *_age(study, now)]


async def doubts(study: StudyRecord, cluster: Cluster) -> list[str]:
    """`stale`, by a look at the cluster now."""
    return stale(study, await look(study, cluster), datetime.now(UTC))


def compared(study: StudyRecord, today: Today) -> list[str]:
    """What `stale` could compare, because it is known of then and of now, in words; of the rest it says nothing."""
    if today.info is None:
        return []
    facts = described(today.info)
    names = [_NAMES[name] for name in _WORDS if study.info.get(name) and facts[name]]
    enough = today.sent is not None and today.served is not None and (today.served.requests or 0) >= _ENOUGH_REQUESTS
    flags = "its flags, as far as tuner knows them" if "fixed" in study.info else "the flags that are tuned"
    return [*names, flags, *(["what it serves"] if enough else [])]


def runs_winner(study: StudyRecord, today: Today) -> bool:
    """Whether the Deployment runs the study's winner now."""
    return today.info is not None and _runs_winner(study, today.info)


def _facts(study: StudyRecord, info: TargetInfo) -> Iterator[str]:
    """What is known then and now, and differs."""
    facts = described(info)
    for name, words in _WORDS.items():
        before, now = study.info.get(name), facts[name]
        if before and now and _compared(name, before) != _compared(name, now):
            yield words.format(before=before, now=now)


def _compared(name: str, fact: object) -> str:
    """A version without what a build adds to it ("0.32.0+cpu"), everything else as it is."""
    return str(fact).partition("+")[0] if name == "version" else str(fact)


def _flags(study: StudyRecord, info: TargetInfo) -> Iterator[str]:
    """Knobs that are set otherwise than measured, unless they are the winner's; and a number of GPUs of their own."""
    before, now = Candidate.of(study.info["baseline"]), info.baseline
    if now == before:
        gpus = study.info.get("gpu_count")
        if gpus and info.gpu_count and gpus != info.gpu_count:
            yield f"it asks for {info.gpu_count} GPUs now, and {gpus} were measured"
    elif not _runs_winner(study, info):
        changed = _told(before, now, differing(before, now))
        yield f"its flags are neither those that were found nor the winner's: {changed}"


def _fixed(study: StudyRecord, info: TargetInfo) -> Iterator[str]:
    """Other flags that are set otherwise than measured. A winner may bring or end one that a knob is part of."""
    before: Mapping[str, Value] | None = study.info.get("fixed")
    if before is None:
        return
    changed = [name for name in differing(before, info.fixed) if name != "model"]
    if _runs_winner(study, info):
        changed = [name for name in changed if name in before and name in info.fixed]
    if changed:
        yield f"flags that were not tuned are set otherwise now: {_told(before, info.fixed, changed)}"


def _told(before: Mapping[str, Value], now: Mapping[str, Value], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {units.setting(now.get(name))} (was {units.setting(before.get(name))})" for name in names)


def _runs_winner(study: StudyRecord, info: TargetInfo) -> bool:
    winner = recommended(study)
    if winner is None:
        return False
    engine = engine_named(info.engine)
    return runs(Candidate.of(winner), info.baseline, engine, info.fixed, info.version)


def _traffic(before: Traffic | None, now: Traffic | None) -> Iterator[str]:
    if before is None or now is None or (now.requests or 0) < _ENOUGH_REQUESTS:
        return
    for what, asked, seen in (
        ("prompts", before.prompt_tokens, now.prompt_tokens),
        ("answers", before.output_tokens, now.output_tokens),
    ):
        if abs(seen - asked) > _OTHER * asked:
            yield (
                f"{what} have {seen:,.0f} tokens on average now (of {now.requests:,} requests since the engine's "
                f"start), and {asked:,.0f} were measured"
            )


def _age(study: StudyRecord, now: datetime) -> Iterator[str]:
    age = now - study.updated
    if age > _OLD:
        yield f"it was measured {age.days} days ago, on {study.updated:%Y-%m-%d}"


async def look(study: StudyRecord, cluster: Cluster) -> Today:
    """What a study's Deployment is now; nothing is changed. What can't be told becomes a note, and no error.

    Unlike a study it refuses nothing: a Deployment is looked at that has many replicas or an autoscaler by now. Takes
    some seconds where nothing answers.
    """
    if study.info.get("simulated"):
        return Today()
    try:
        async with cluster.client() as client:
            return await _look(study, client, cluster)
    except TunerError as error:
        return Today(notes=(_untold(f"{study.target} is still as it was measured", error),))


async def _look(study: StudyRecord, client: Client, cluster: Cluster) -> Today:
    namespace, _, name = study.target.partition("/")
    live = await client.find(DEPLOYMENTS, namespace, name, patience_s=_PATIENCE_S)
    if live is None:
        return Today(notes=(f"there is no Deployment {name} in namespace {namespace} any more",))
    snapshot = stored(live) or await copies.in_force(client, live)
    deployment, engine = original(live, snapshot), engine_named(study.info["engine"])
    found = recognise(deployment, [engine], named=True)
    if found is None or found.container is None:
        why = f"its flags can't be read any more: {found.shape}" if found else f"it does not run {engine.name} any more"
        return Today(notes=(why,))
    pod = await current_pod(client, deployment, found.container.name)
    said = await _ask(_route(engine, found.container, cluster), pod)
    info = await _info(client, deployment, engine, found.container, pod, said.version)
    # While a study has it, the engine is a trial's, and what it served is that study's own load. Afterwards, and after
    # a winner was applied, it has been started anew, and its counters with it.
    return Today(info) if snapshot is not None else await _with_traffic(study, info, engine, said)


def _route(engine: Engine, container: EngineContainer, cluster: Cluster) -> Route:
    endpoint = cluster.endpoint.rstrip("/") if cluster.endpoint else None
    return Route(port_of(engine, container), endpoint, cluster.api_key)


class _Said(NamedTuple):
    """What the engine says of itself; `problem` is why it does not."""

    version: str | None = None
    metrics: str = ""
    problem: str = ""


async def _ask(route: Route, pod: PodState | None) -> _Said:
    if pod is None or not pod.ready:
        return _Said(problem="its engine is not ready")
    serving = route.serving(pod.ip)
    try:
        version, metrics = await serving.version(), await serving.text("/metrics")
    finally:
        await serving.close()
    return _Said(version, metrics, "" if metrics else f"{serving.base} shows no metrics")


async def _info(
    client: Client,
    deployment: Object,
    engine: Engine,
    container: EngineContainer,
    pod: PodState | None,
    version: str | None,
) -> TargetInfo:
    """As far as manifest, node and engine tell; logs, which end some time, are left alone."""
    knobs, settings = engine.read(container.readable)
    gpu, _ = await gpu_of(client, deployment, pod.node if pod else "")
    metadata = deployment["metadata"]
    return TargetInfo(
        name=f"{metadata['namespace']}/{metadata['name']}",
        engine=engine.name,
        version=version,
        model=str(settings.get("model") or positional_model(container.argv) or ""),
        model_shape=None,
        gpu=gpu,
        gpu_count=container.gpu_count,
        baseline=knobs,
        image=container.image,
        uid=metadata["uid"],
        fixed=settings,
    )


async def _with_traffic(study: StudyRecord, info: TargetInfo, engine: Engine, said: _Said) -> Today:
    what = "its traffic is still what was measured"
    if said.problem:
        return Today(info, notes=(_untold(what, said.problem),))
    now = served(engine, said.metrics)
    try:
        # Files of prompts and traces may be large.
        return Today(info, await asyncio.to_thread(sent, study) if now else None, now)
    except InvalidInput as error:
        return Today(info, notes=(_untold(what, error),))


def _untold(what: str, why: object) -> str:
    return f"whether {what} could not be told: {'; '.join(str(why).splitlines())}"
