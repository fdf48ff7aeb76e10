"""A study's winner, as flags of the Deployment that it was measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.core.errors import Refused
from tuner.core.knob import Candidate, Value
from tuner.engines import Engine, engine_named
from tuner.export import Result
from tuner.podspec import edit
from tuner.store import StudyRecord
from tuner.study.standing import recommended
from tuner.targets.kubernetes import changes, fields
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.discover import original, recognise
from tuner.targets.kubernetes.resources import DEPLOYMENTS
from tuner.targets.kubernetes.snapshot import stored


@dataclass(frozen=True)
class Winner:
    """What a study recommends, and against what it was measured."""

    study: str
    candidate: Candidate
    baseline: Candidate
    engine: str
    version: str | None
    summary: str
    date: str
    namespace: str  # empty where the target was simulated
    deployment: str
    fixed: Mapping[str, Value] | None = None  # other flags that were found; None: not kept

    @property
    def simulated(self) -> bool:
        """Whether there is no Deployment."""
        return not self.namespace


def winner_of(study: StudyRecord) -> Winner:
    """The winner of a finished study. Raises Refused where there is none, with the reason."""
    result: Mapping[str, Any] = study.result or {}
    if study.result is None or "conclusion" not in result:
        raise Refused(
            f"study {study.name} has no answer yet (it is {study.state.value}); `tuner start` goes on with it"
        )
    finalist = recommended(study)
    if finalist is None:
        raise Refused(f"study {study.name} has no winner: {result['conclusion']} ({result.get('reason')})")
    namespace, _, name = study.target.partition("/")
    simulated = bool(study.info.get("simulated"))
    return Winner(
        study=study.name,
        candidate=Candidate.of(finalist),
        baseline=Candidate.of(study.info["baseline"]),
        fixed=study.info.get("fixed"),
        engine=study.info["engine"],
        version=study.info["version"],
        summary=str(result.get("summary") or result["conclusion"]),
        date=f"{study.updated:%Y-%m-%d}",
        namespace="" if simulated else namespace,
        deployment="" if simulated else name,
    )


def as_flags(winner: Winner) -> Result:
    """The winner without a look at its Deployment, if it has one: its flags alone, over those of the baseline."""
    engine = engine_named(winner.engine)
    edits = engine.spell(winner.candidate, winner.baseline, version=winner.version)
    before = edit({}, engine.syntax(), engine.spell(winner.baseline, Candidate(), version=winner.version))
    return Result(
        study=winner.study,
        date=winner.date,
        gain=winner.summary,
        engine=winner.engine,
        namespace=winner.namespace,
        deployment=winner.deployment,
        container="",
        original=before,
        changed=edit(before, engine.syntax(), edits),
        edits=edits,
    )


async def on_deployment(winner: Winner, client: Client) -> Result:
    """The winner as a change of the live Deployment.

    Raises Refused where that is gone, runs the winner already, or had its flags changed since the study.
    """
    live = await client.find(DEPLOYMENTS, winner.namespace, winner.deployment)
    if live is None:
        raise Refused(f"there is no Deployment {winner.deployment} in namespace {winner.namespace}")
    before = original(live, stored(live))
    engine = engine_named(winner.engine)
    found = recognise(before, [engine])
    if found is None or found.container is None:
        raise Refused(
            f"Deployment {winner.deployment}: {found.shape if found else f'does not run {engine.name} any more'}"
        )
    today, settings = engine.read(found.container.readable)
    if runs(winner.candidate, today, engine, settings, winner.version):
        raise Refused(f"Deployment {winner.deployment} runs the winner of study {winner.study} already")
    if today != winner.baseline:
        raise Refused(
            f"Deployment {winner.deployment} was changed since the study: it ran {winner.baseline} then and runs "
            f"{today} now, so the result may not hold; measure again with `tuner start`, or export -o flags"
        )
    changed = [] if winner.fixed is None else differing(winner.fixed, settings)
    if changed:
        raise Refused(
            f"Deployment {winner.deployment} was changed since the study in {', '.join(changed)}, so the result may "
            "not hold; measure again with `tuner start`, or export -o flags"
        )
    container = fields.container_of(before, found.container.name)
    edits = engine.spell(winner.candidate, winner.baseline, fixed=settings, version=winner.version)
    gpus = changes.gpus_for(before, found.container.name, winner.baseline, winner.candidate)
    return Result(
        study=winner.study,
        date=winner.date,
        gain=winner.summary,
        engine=winner.engine,
        namespace=winner.namespace,
        deployment=winner.deployment,
        container=found.container.name,
        original={name: container.get(name) for name in ("command", "args")},
        changed=edit(container, engine.syntax(), edits),
        edits=edits,
        resources=_resources(gpus),
        selector=before["spec"]["selector"],
    )


def differing(before: Mapping[str, Value], now: Mapping[str, Value]) -> list[str]:
    """The names of settings that are not as they were, by the alphabet."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def runs(
    wanted: Candidate, today: Candidate, engine: Engine, settings: Mapping[str, Value], version: str | None
) -> bool:
    """Whether an engine with the knobs and settings of today runs what is wanted: no flag has to be set or taken away.

    Some values are those of a flag that is absent, so that equal candidates are not all there is.
    """
    return not engine.spell(wanted, today, fixed=settings, version=version)


def _resources(gpus: Mapping[str, str | None] | None) -> dict[str, dict[str, Any]]:
    return {kind: {"nvidia.com/gpu": count} for kind, count in (gpus or {}).items() if count is not None}
