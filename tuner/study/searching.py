"""What a study searches with: the planner's screen, the prior's first candidates, and the sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tuner.core.target import TargetInfo
from tuner.engines import engine_named
from tuner.search import Expecting, OptunaSampler, RandomSampler, Sampler, Screen, Space, rank
from tuner.simulator.memory import MemoryConstants
from tuner.store import Store, StudyRecord, TrialKind
from tuner.study.aim import Aim
from tuner.study.foresight import Foresee, Foresight
from tuner.study.spec import StudySpec

# How many suggestions come from the prior before TPE takes over: few, because the prior may be wrong.
_FIRST = 3


@dataclass(frozen=True)
class Searching:
    """The parts of one study's search; `keep` stores what the planner has learnt for later studies.

    `foresee` says what is expected of a candidate, None where nothing can be.
    """

    screen: Screen
    sampler: Sampler
    foresee: Foresee
    keep: Callable[[], None]


def searching(spec: StudySpec, space: Space, info: TargetInfo, aim: Aim, store: Store, study: StudyRecord) -> Searching:
    """Put a study's search together; on a resume it goes on with what the study has on record."""
    key = calibration_key(info)
    constants = store.calibrations.find(key, MemoryConstants)
    screen = screening(space, info, constants)
    basis = expecting(info, aim, constants)

    def keep() -> None:
        if screen.constants is not None:
            store.calibrations.keep(key, screen.constants)

    if spec.search.sampler == "random":
        sampler = _random(space, aim, store, study)
    else:
        sampler = _tpe(space, info, aim, store, study, basis)
    return Searching(screen, sampler, Foresight(basis, screen).of, keep)


def calibration_key(info: TargetInfo) -> str:
    """Under what the planner's constants are kept: they differ between engine builds, GPUs and models."""
    return f"{info.image}|{info.gpu.name if info.gpu else ''}|{info.model_shape.name if info.model_shape else ''}"


def screening(space: Space, info: TargetInfo, constants: MemoryConstants | None) -> Screen:
    """The screen: with the planner where it knows the engine, else by what starts have shown."""
    if not engine_named(info.engine).simulated:
        return Screen(space, fixed=info.fixed, version=info.version)
    return Screen(space, info.model_shape, info.gpu, info.gpu_count, info.fixed, info.version, constants)


def expecting(info: TargetInfo, aim: Aim, constants: MemoryConstants | None) -> Expecting | None:
    """What the prior rests on; None where the engine has no simulator, or model or GPU are not known."""
    if info.model_shape is None or info.gpu is None or not engine_named(info.engine).simulated:
        return None
    return Expecting(
        model=info.model_shape,
        gpu=info.gpu,
        workload=aim.workload,
        objective=aim.objective,
        slos=aim.slos,
        gpu_count=info.gpu_count,
        fixed=info.fixed,
        version=info.version,
        constants=constants,
        seed=aim.seed,
    )


def _random(space: Space, aim: Aim, store: Store, study: StudyRecord) -> Sampler:
    history = {t.ticket: t.candidate for t in store.trials(study.id) if t.kind is TrialKind.SEARCH}
    return RandomSampler(space, aim.seed, history=list(history.values()))


def _tpe(
    space: Space, info: TargetInfo, aim: Aim, store: Store, study: StudyRecord, basis: Expecting | None
) -> Sampler:
    prior = rank(space, basis, info.baseline, _FIRST)
    return OptunaSampler(
        space,
        store.url,
        f"{study.name}-{study.id}",
        aim.seed,
        [(one.candidate, one.reason) for one in prior],
        slos=[str(slo) for slo in aim.slos],
        # TPE with fewer told trials than this is a coin; the prior and the baseline count.
        startup=1 + _FIRST,
        lock=store.setup_lock(),
    )
