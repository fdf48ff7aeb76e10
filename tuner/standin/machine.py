"""The simulated machine behind the server: what it makes of the flags, and how its start goes or fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.hardware import Model
from tuner.core.knob import Value
from tuner.simulator.catalogue import find_model, model_from_config
from tuner.simulator.cost import StepCost, StepWork
from tuner.simulator.memory import MemoryPlan, plan
from tuner.simulator.run import Noise
from tuner.simulator.scheduler import Scheduler
from tuner.simulator.settings import Settings, resolve
from tuner.simulator.truth import Truth
from tuner.standin.arguments import Arguments
from tuner.standin.options import SimOptions


class StartFailed(Exception):
    """The engine refuses to start. `loaded` tells whether it got as far as loading the model."""

    def __init__(self, failure: Failure, loaded: bool) -> None:
        self.failure, self.loaded = failure, loaded
        super().__init__(failure.message)


@dataclass(frozen=True)
class Metronome:
    """A step cost that does not ask what a step computes."""

    step_s: float

    def seconds(self, work: StepWork) -> float:  # noqa: ARG002
        """Duration of any step."""
        return self.step_s

    def admission_s(self, prompt_tokens: int) -> float:  # noqa: ARG002
        """The front end takes no time."""
        return 0.0


@dataclass(frozen=True)
class Machine:
    """One start on one simulated machine."""

    model: Model
    settings: Settings
    memory: MemoryPlan
    truth: Truth
    start: int
    options: SimOptions

    @property
    def speed(self) -> float:
        """By what the engine's times are divided; steps of a told length are told in wall time."""
        return self.options.speed if self.options.step_s is None else 1.0

    @property
    def start_s(self) -> float:
        """Wall seconds from launch to ready."""
        if self.options.start_s is not None:
            return self.options.start_s
        return self.truth.start_s(self.memory, self.settings, self.start) / self.options.speed

    @property
    def breaks_at(self) -> int | None:
        """With how many running requests the GPU's memory breaks under load; None: never."""
        return self.truth.fragility(self.memory, self.settings, self.start).running

    def scheduler(self) -> Scheduler:
        """An idle engine."""
        return Scheduler(
            self.settings,
            self.memory.kv_tokens,
            self._cost(),
            acceptance=self.truth.acceptance(self.settings),
            seed=self.options.seed * 1_000_003 + self.start,
        )

    def noise(self) -> Noise:
        """The noise of this start's steps; those of a told length have none."""
        return self.truth.level_noise(self.start, 1) if self.options.step_s is None else Noise()

    def _cost(self) -> StepCost:
        if self.options.step_s is not None:
            return Metronome(self.options.step_s)
        return self.truth.cost(self.model, self.options.gpu, self.settings, self.start)


def build(arguments: Arguments, options: SimOptions, start: int) -> Machine:
    """Lay out the machine. Raises StartFailed with vLLM's own message where vLLM would not start."""
    model = _model(arguments, options)
    truth = Truth(options.seed)
    values = arguments.values()
    machine = _laid_out(model, values, truth, start, options)
    refusal = machine.memory.refusal
    if refusal is not None and refusal.hint and values.get("max_model_len") == "auto":
        machine = _laid_out(model, values | refusal.hint, truth, start, options)
        refusal = machine.memory.refusal
    if refusal is not None:
        raise StartFailed(refusal, loaded=True)
    return machine


def _laid_out(model: Model, values: dict[str, Value], truth: Truth, start: int, options: SimOptions) -> Machine:
    try:
        settings = resolve(values, {}, model, options.gpu, options.gpu_count)
    except TrialFailed as error:
        raise StartFailed(error.failure, loaded=error.failure.cause is not Cause.BAD_FLAG) from error
    memory = plan(model, options.gpu, settings, truth.memory(settings.version))
    return Machine(model, settings, memory, truth, start, options)


def _model(arguments: Arguments, options: SimOptions) -> Model:
    name = options.model or arguments.model
    try:
        if (Path(name) / "config.json").is_file():
            return replace(model_from_config(name), name=arguments.model)
        return find_model(name)
    except InvalidInput as error:
        message = (
            f"OSError: {name} is not a local folder and is not a valid model identifier listed on "
            f"'https://huggingface.co/models' ({error})"
        )
        raise StartFailed(Failure(Cause.IMAGE_OR_CONFIG, message, message), loaded=False) from error
