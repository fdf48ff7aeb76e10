"""What planner and simulator expect of one configuration before anything was started.

Expectations are shown to the user and order the first candidates (`prior`); they are never told to the sampler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.core.cause import Failure, TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate, Value
from tuner.core.slo import Metric, Slo
from tuner.core.workload import Count, Load, Objective, ObjectiveKind, Workload
from tuner.search.rehearsal import Rehearsal, rehearse
from tuner.search.steady import Engine, capacity
from tuner.simulator.cost import Roofline
from tuner.simulator.memory import MemoryConstants, MemoryPlan, plan
from tuner.simulator.settings import NotModelled, resolve

_REQUESTS = (100, 250)
_SECONDS = 10.0
_STEP = 1.2
_RESOLVED = 1.05  # a capacity is known well enough when pass and fail lie this close


@dataclass(frozen=True)
class Prediction:
    """What is expected of one candidate.

    `value` is the objective's (higher is better), None where no load meets the SLOs or the engine would refuse to start
    (`refusal`). `rate` is the load in requests/s that it belongs to; `margins` hold there, signed and relative as a
    verdict's violations. `certain` is False close to a cliff. `settings` are what an engine would resolve.
    """

    candidate: Candidate
    value: float | None
    rate: float | None = None
    kv_tokens: int | None = None
    margins: Mapping[str, float] = field(default_factory=dict)
    memory: MemoryPlan | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    refusal: Failure | None = None
    certain: bool = True
    reason: str = ""

    @property
    def rank(self) -> tuple[int, float]:
        """Higher is better; what would not start comes last."""
        if self.refusal is not None:
            return (-1, 0.0)
        if self.value is None:
            return (0, -sum(v for v in self.margins.values() if v > 0))
        return (1, self.value)


@dataclass(frozen=True)
class Expecting:
    """Everything that an expectation rests on. `fixed` are settings of the target that are no knobs."""

    model: Model
    gpu: Gpu
    workload: Workload
    objective: Objective
    slos: tuple[Slo, ...]
    gpu_count: int = 1
    fixed: Mapping[str, Value] = field(default_factory=dict)
    version: str | None = None
    constants: MemoryConstants | None = None
    seed: int = 0

    def engine(self, candidate: Mapping[str, Value]) -> tuple[Engine, MemoryPlan]:
        """The configuration as the simulator sees it. Raises TrialFailed for a flag that the engine refuses."""
        settings = resolve(candidate, self.fixed, self.model, self.gpu, self.gpu_count, self.version)
        memory = plan(self.model, self.gpu, settings, self.constants)
        return Engine(settings, memory.kv_tokens, Roofline(self.model, self.gpu, settings)), memory

    def defaults(self, baseline: Mapping[str, Value]) -> dict[str, Value]:
        """What the engine would make of the knobs that `baseline` leaves to it; nothing where it would refuse them."""
        try:
            return self.engine(baseline)[0].settings.as_values()
        except TrialFailed:
            return {}

    def worth(self, rate: float) -> float:
        """`rate` in what the objective counts."""
        prompt = self.workload.mean_prefix + self.workload.mean_history + self.workload.prompt.mean
        output = self.workload.output.mean
        counted = {Count.REQUESTS: 1, Count.OUTPUT_TOKENS: output, Count.TOTAL_TOKENS: prompt + output}
        return rate * counted[self.objective.count]


def predict(candidate: Candidate, expecting: Expecting, reason: str = "") -> Prediction:
    """What planner and simulator expect of one candidate. Takes some tenths of a second.

    Raises InvalidInput for a value that the simulator does not know.
    """
    try:
        engine, memory = expecting.engine(candidate)
    except NotModelled as unknown:
        raise InvalidInput(f"the simulator can't expect anything of {candidate}: {unknown.failure.message}") from None
    except TrialFailed as refused:
        return Prediction(candidate, None, refusal=refused.failure, reason=reason)
    rate, margins = (None, {}) if memory.refusal else _measure(engine, expecting)
    value: float | None = None
    if rate is not None:
        value = expecting.worth(rate)
        if expecting.objective.kind is ObjectiveKind.HEADROOM:
            value = -max(margins.values(), default=-1.0)
    return Prediction(
        candidate=candidate,
        value=value,
        rate=rate,
        kv_tokens=memory.kv_tokens,
        margins=margins,
        memory=memory,
        settings=engine.settings.as_values(),
        refusal=memory.refusal,
        certain=memory.certain,
        reason=reason,
    )


def _measure(engine: Engine, expecting: Expecting) -> tuple[float | None, dict[str, float]]:
    """The rate that the objective asks for and the margins there; no rate where the SLOs don't hold."""
    objective = expecting.objective
    if objective.kind is ObjectiveKind.THROUGHPUT:
        clients = objective.concurrency or engine.settings.max_num_seqs
        seen = _level(engine, expecting, Load(concurrency=clients), max(_REQUESTS[0], 4 * clients))
        return _if_met(seen, expecting, seen.rate)
    if objective.kind is ObjectiveKind.HEADROOM and objective.rate:
        return _if_met(_open(engine, expecting, objective.rate), expecting, objective.rate)
    if all(slo.metric is Metric.ERROR_RATE for slo in expecting.slos):
        seen = _level(engine, expecting, Load(concurrency=_REQUESTS[1]), 4 * _REQUESTS[1])
        return _if_met(seen, expecting, seen.rate)
    return _capacity(engine, expecting)


def _capacity(engine: Engine, expecting: Expecting) -> tuple[float | None, dict[str, float]]:
    """From the closed form's rate up or down by steps until the answer changes, then once more in between.

    Never beyond the rate at which the full engine keeps up, and writes as fast as promised, in closed form: a rehearsal
    is too short for answers to pile up in it.
    """
    most = capacity(engine, expecting.workload, tuple(slo for slo in expecting.slos if slo.metric is Metric.TPOT))
    rate = capacity(engine, expecting.workload, expecting.slos) or min(0.1, most)
    passed: tuple[float, dict[str, float]] | None = None
    failed: tuple[float, dict[str, float]] | None = None
    for _ in range(16):
        margins = _margins(_open(engine, expecting, rate), expecting)
        if _met(margins):
            passed = (rate, margins)
        else:
            failed = (rate, margins)
        if passed and failed:
            if failed[0] / passed[0] <= _RESOLVED:
                break
            rate = (passed[0] * failed[0]) ** 0.5
        elif passed:
            if passed[0] >= most:
                break
            rate = min(rate * _STEP, most)
        else:
            rate /= _STEP
    if passed is None:
        return None, failed[1] if failed else {}
    return passed


def _open(engine: Engine, expecting: Expecting, rate: float) -> Rehearsal:
    requests = round(min(max(rate * _SECONDS, _REQUESTS[0]), _REQUESTS[1]))
    return _level(engine, expecting, Load(rate=rate), requests)


def _level(engine: Engine, expecting: Expecting, load: Load, requests: int) -> Rehearsal:
    return rehearse(engine, expecting.workload, load, requests=requests, seed=expecting.seed)


def _margins(seen: Rehearsal, expecting: Expecting) -> dict[str, float]:
    return {str(slo): seen.violation(slo) for slo in expecting.slos}


def _met(margins: Mapping[str, float]) -> bool:
    return all(margin <= 0 for margin in margins.values())


def _if_met(seen: Rehearsal, expecting: Expecting, rate: float) -> tuple[float | None, dict[str, float]]:
    margins = _margins(seen, expecting)
    return (rate if _met(margins) and not seen.unserved else None), margins
