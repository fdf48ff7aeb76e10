"""From the target that a study names to one that can be tuned; which kinds of targets there are is known only here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Model
from tuner.core.knob import Candidate
from tuner.core.request import Driver
from tuner.core.target import TargetInfo
from tuner.core.workload import Api
from tuner.engines import ENGINES, engine_named
from tuner.engines.engine import Engine
from tuner.probe import http_driver
from tuner.simulator.catalogue import find_gpu, find_model, model_from_config
from tuner.store import Store, StudyRecord
from tuner.study.spec import KubernetesSpec, SimulatedSpec, StudySpec
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.discover import choose
from tuner.targets.simulated import SimulatedTarget
from tuner.targets.target import Running, Target

# How a target says that it could not tell its GPU; once the GPU is known otherwise, nobody need be asked any more.
_ASKS_FOR_GPU = re.compile(r"^gpu: |--gpu\b")


@dataclass(frozen=True)
class Place:
    """A target that has been found, and the unfinished study of it that would go on (None: a new one)."""

    target: Target
    resumes: StudyRecord | None
    live: bool  # changing it takes somebody's service down for a while


async def find_place(spec: StudySpec, store: Store, *, api_key: str | None, new: bool) -> Place:
    """Find the target that `spec` names. Raises InvalidInput or Refused where there is none or several."""
    if spec.target.simulated is not None:
        target = simulated(spec.target.simulated)
        name = (await target.inspect()).name
        return Place(target, None if new else store.resumable(name, spec.fingerprint), live=False)
    assert spec.target.kubernetes is not None
    return await _deployment(spec, spec.target.kubernetes, store, api_key, new)


def simulated(spec: SimulatedSpec) -> SimulatedTarget:
    """The simulated engine that a spec describes, run as people run one: on all GPUs, with a context that fits.

    Raises InvalidInput where it does not start.
    """
    model, own = model_named(spec.model), "tensor_parallel_size" in spec.baseline
    sizes = [size for size in range(1, min(64, model.heads) + 1) if model.heads % size == 0]
    if spec.count not in sizes and not own:
        raise InvalidInput(
            f"target.simulated.count: {spec.count} GPUs can't share the {model.heads} attention heads of "
            f"{model.name} evenly (tensor parallelism); allowed: {', '.join(map(str, sizes))}, or a baseline with its "
            "own tensor_parallel_size"
        )
    try:
        return _engine(spec, model, spec.count)
    except InvalidInput as error:
        more = [] if own else [size for size in sizes if size > spec.count]
        enough = next((size for size in more if _starts(spec, model, size)), None)
        if enough is None:
            raise
        raise InvalidInput(f"{error}; on {enough} GPUs it does: {enough}x{spec.gpu}/{spec.model}") from None


def _engine(spec: SimulatedSpec, model: Model, count: int) -> SimulatedTarget:
    shared = count > 1 and "tensor_parallel_size" not in spec.baseline
    baseline = Candidate.of(spec.candidate, tensor_parallel_size=count) if shared else spec.candidate
    return SimulatedTarget(model, find_gpu(spec.gpu), count, baseline=baseline, seed=spec.seed, fit_context=True)


def _starts(spec: SimulatedSpec, model: Model, count: int) -> bool:
    try:
        _engine(spec, model, count)
    except InvalidInput:
        return False
    return True


def model_named(name: str) -> Model:
    """A model of the catalogue, or of a config.json. Raises InvalidInput with what is allowed."""
    return model_from_config(Path(name)) if name.endswith(".json") or Path(name).is_file() else find_model(name)


def informed(spec: StudySpec, info: TargetInfo) -> TargetInfo:
    """What was found, with the user's word on model and GPUs over it: so is planned, and so are knobs left out.

    Raises InvalidInput where GPUs are named for an engine that has none: what was planned with them would not hold.
    """
    if info.on_cpu and (spec.gpu is not None or spec.gpu_count is not None):
        field, value = ("gpu", spec.gpu) if spec.gpu is not None else ("gpu_count", spec.gpu_count)
        raise InvalidInput(
            f"{field}: {value!r}, but {info.name} runs on a CPU, as its engine or its image says; leave {field} out"
        )
    gpu = find_gpu(spec.gpu) if spec.gpu else info.gpu
    return replace(
        info,
        model_shape=model_named(spec.model) if spec.model else info.model_shape,
        gpu=gpu,
        gpu_count=spec.gpu_count or info.gpu_count,
        notes=tuple(note for note in info.notes if gpu is None or not _ASKS_FOR_GPU.search(note)),
    )


def http_connector(engine: Engine, api: Api, api_key: str | None) -> Callable[[Running], Driver]:
    """Makes drivers for engines that are reached over HTTP."""

    def connect(running: Running) -> Driver:
        if running.endpoint is None:
            raise InvalidInput("the target neither names an endpoint nor drives itself")
        return http_driver(running.endpoint, running.model, api=api, api_key=api_key, counters=engine.counters)

    return connect


async def _deployment(spec: StudySpec, where: KubernetesSpec, store: Store, api_key: str | None, new: bool) -> Place:
    client = await Client.connect(where.kubeconfig, where.context)
    try:
        namespace = where.namespace or client.namespace
        name = where.deployment or await choose(client, namespace, list(ENGINES.values()))
        resumes = None if new else store.resumable(f"{namespace}/{name}", spec.fingerprint)
        target = KubernetesTarget(
            client,
            namespace,
            name,
            engine_named(spec.engine),
            endpoint=where.endpoint,
            api_key=api_key,
            study=str(resumes.info["holder"]) if resumes else None,
        )
    except BaseException:
        await client.close()
        raise
    return Place(target, resumes, live=True)
