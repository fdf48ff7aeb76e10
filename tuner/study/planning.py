"""What planner and simulator expect of configurations, before anything is started: `tuner plan`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.core.errors import InvalidInput
from tuner.core.knob import Candidate, Value
from tuner.engines import engine_named
from tuner.search import Prediction, predict, rank
from tuner.simulator.memory import MemoryConstants
from tuner.store import Store
from tuner.store.codec import encode
from tuner.study.place import find_place
from tuner.study.searching import calibration_key, expecting
from tuner.study.session import Preview, Session
from tuner.study.spec import StudySpec


@dataclass(frozen=True)
class Plan:
    """Expectations: of what runs now, of the configuration asked about (None: none), and of the best to try first."""

    baseline: Prediction
    asked: Prediction | None
    first: tuple[Prediction, ...]
    calibrated: bool  # by the start-up log of an earlier study of the same image, GPU and model

    def to_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        return {
            "calibrated": self.calibrated,
            "baseline": encode(self.baseline),
            "asked": encode(self.asked),
            "first": [encode(one) for one in self.first],
        }


async def look_and_plan(spec: StudySpec, store: Store, wanted: Mapping[str, Value], first: int) -> tuple[Preview, Plan]:
    """Look at the target that `spec` names, and expect (see `make_plan`). Nothing is changed."""
    place = await find_place(spec, store, api_key=None, new=True)
    try:
        preview = await Session(spec, store, place).look()
        return preview, await asyncio.to_thread(make_plan, preview, store, wanted, first)
    finally:
        await place.target.release()


def make_plan(preview: Preview, store: Store, wanted: Mapping[str, Value], count: int) -> Plan:
    """Expect. `wanted` are knobs laid over the baseline. Raises InvalidInput where model or GPU are not known."""
    info = preview.info
    constants = store.calibrations.find(calibration_key(info), MemoryConstants)
    basis = expecting(info, preview.aim, constants)
    if info.on_cpu:
        raise InvalidInput(f"{info.name}: its engine runs on a CPU, and the planner knows GPUs only; measure it")
    if not engine_named(info.engine).simulated:
        raise InvalidInput(f"{info.name}: the planner does not know {info.engine}; measure it")
    if basis is None:
        raise InvalidInput(
            f"{info.name}: the planner needs a GPU and a model that it knows, and found "
            f"{info.gpu.name if info.gpu else 'no known GPU'} and {info.model or 'no model name'}; "
            "name them with --gpu and --model (a catalogue name or a config.json)"
        )
    # What is not searched may be asked about all the same: nothing is started.
    known = [*preview.space.by_name, *preview.space.fixed, *(left.knob for left in preview.space.left_out)]
    problems = [
        f"--set {name}: no knob of this study; allowed: {', '.join(known)}" for name in wanted if name not in known
    ]
    if problems:
        raise InvalidInput(*problems)
    asked = predict(Candidate.of({**info.baseline, **wanted}), basis, "asked for") if wanted else None
    return Plan(
        baseline=predict(info.baseline, basis, "found on the target"),
        asked=asked,
        first=tuple(rank(preview.space, basis, info.baseline, count)) if count else (),
        calibrated=constants is not None,
    )
