"""`tuner doctor` on a live namespace: what speaks for and against tuning each engine in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu, Model
from tuner.engines import ENGINES
from tuner.study.doctor import Finding, Severity, findings_for
from tuner.targets.kubernetes import hardware
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.discover import Examination, discover, examine
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.inspection import current_pod
from tuner.targets.kubernetes.resources import SERVICES


async def check_namespace(
    client: Client,
    namespace: str,
    name: str | None,
    version: str | None,
    gpu: Gpu | None = None,
    model: Model | None = None,
) -> list[Finding]:
    """Findings on one Deployment, or on all that run an engine. Raises InvalidInput where there is none.

    `version`, `gpu` and `model` are the user's word, which goes before what manifests and labels say.
    """
    engines = list(ENGINES.values())
    names = [name] if name else [found.name for found in await discover(client, namespace, engines)]
    if not names:
        raise InvalidInput(f"namespace {namespace}: no Deployment runs {' or '.join(ENGINES)}; -n names another one")
    visible = await client.allowed("list", SERVICES, namespace)
    services = [one["metadata"]["name"] for one in await client.list(SERVICES, namespace)] if visible else []
    found: list[Finding] = []
    for one in names:
        seen = await examine(client, namespace, one, engines)
        on = gpu or await _gpu(client, seen)
        about = findings_for(seen.deployment, services=services, assume_version=version, gpu=on, model=model)
        found += [*about, *_tunable(namespace, one, seen, about)]
    return found


async def _gpu(client: Client, seen: Examination) -> Gpu | None:
    """What the engine runs on, by its pod's node; what may not be read is among the rights that are examined."""
    node = ""
    with suppress(ApiError):
        pod = await current_pod(client, seen.deployment, seen.found.container.name) if seen.found.container else None
        node = pod.node if pod else ""
    return (await hardware.gpu_of(client, seen.deployment, node))[0]


def _tunable(namespace: str, name: str, seen: Examination, about: Sequence[Finding]) -> list[Finding]:
    """What the cluster says that no manifest does, and `about` does not say: owners, replicas, rights, leftovers."""
    where = f"Deployment {name}"
    told = tuple(one.text for one in about if one.severity is Severity.BLOCKER)
    further = [text for text in seen.refusals if not text.startswith(told)]
    blockers = [Finding(Severity.BLOCKER, where, "tuning", text) for text in further]
    notes = [Finding(Severity.NOTE, where, "tuning", text) for text in seen.notes]
    fine = Finding(Severity.OK, where, "tuning", f"`tuner start -n {namespace} {name}` can tune it")
    return [*blockers, *notes, *([] if seen.refusals else [fine])]
