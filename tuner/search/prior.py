"""What planner and simulator expect before anything was started: of one configuration, and which to try first.

Expectations order the first candidates and are shown to the user; they are never told to the sampler. A prior with the
wrong sign therefore costs the few starts that it chose, and no more.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tuner.core.cause import Failure, TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate, KnobKind, Value
from tuner.core.slo import Metric, Slo
from tuner.core.workload import Count, Load, Objective, ObjectiveKind, Workload
from tuner.search import grid
from tuner.search.rehearsal import Rehearsal, rehearse
from tuner.search.space import Space
from tuner.search.steady import Engine, capacity
from tuner.simulator.cost import Roofline
from tuner.simulator.memory import MemoryConstants, MemoryPlan, plan
from tuner.simulator.settings import NotModelled, Settings, resolve

_POOL = 96  # candidates looked at in closed form
_REFINED = 3  # of them, how many are improved step by step
_ROUNDS = 4
_FINALISTS = 6  # how many are simulated
_SILENT = 0.005  # a knob whose steps change the expectation by less than this is silent
_APART = 0.12  # suggestions lie at least this far apart, see Space.distance
_REQUESTS = (100, 250)
_SECONDS = 10.0
_STEP = 1.2
_RESOLVED = 1.05  # a capacity is known well enough when pass and fail lie this close
_TIE = 0.02  # what is expected to be this much worse than the baseline is not tried first


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
        prompt = self.workload.shared_prefix + self.workload.prompt.mean
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
        settings=_named(engine.settings),
        refusal=memory.refusal,
        certain=memory.certain,
        reason=reason,
    )


def rank(space: Space, expecting: Expecting | None, baseline: Mapping[str, Value], count: int = 3) -> list[Prediction]:
    """The `count` candidates to try first, best first, not all alike and none equal to the baseline.

    Looks at a pool in closed form, improves its best by steps, and simulates the finalists. Without an `expecting`
    (model or GPU unknown, or a CPU), or where the planner thinks that the baseline, which runs, can't start, they are
    the rules of the field around the baseline.
    """
    if not space.knobs:
        return []
    start = space.repair(space.complete(baseline, expecting.defaults(baseline) if expecting else {}))
    if expecting is None or not expecting.defaults(start):
        return [Prediction(c, None, reason=reason) for c, reason in _rules(space, start)][:count]
    rough = _Rough(expecting)
    best = _refined(space, rough, sorted(_pool(space, start, expecting.seed), key=rough, reverse=True)[:_REFINED])
    silent = _silent(space, rough, best[0])
    kept = {name: start[name] for name in silent if name in start}
    plain = {space.repair({**candidate, **kept}) for candidate in best}
    ordered = sorted(
        (c for c in plain if c != start and rough(c) > 0), key=lambda c: (-rough(c), _moved(c, start), c.key)
    )
    heard = [knob.name for knob in space.knobs if knob.name not in silent]
    finalists = _apart(space, ordered, heard, _FINALISTS)
    predictions = sorted((predict(c, expecting) for c in finalists), key=lambda p: p.rank, reverse=True)
    before = predict(start, expecting).value
    worthwhile = [p for p in predictions if p.refusal is None and _worthwhile(p.value, before, expecting.objective)]
    return [_because(p, f"the simulator's choice no. {i + 1}") for i, p in enumerate(worthwhile[:count])]


def _worthwhile(value: float | None, before: float | None, objective: Objective) -> bool:
    gain = objective.gain(value, before)
    return before is None or (gain is not None and gain >= -_TIE)


class _Rough:
    """The closed form's capacity of a candidate in requests/s, remembered; 0 where it would not start for certain."""

    def __init__(self, expecting: Expecting) -> None:
        self._expecting = expecting
        self._known: dict[str, float] = {}

    def __call__(self, candidate: Candidate) -> float:
        if candidate.key not in self._known:
            self._known[candidate.key] = self._rate(candidate)
        return self._known[candidate.key]

    def _rate(self, candidate: Candidate) -> float:
        try:
            engine, memory = self._expecting.engine(candidate)
        except TrialFailed:
            return 0.0
        # The first starts should not be spent near a cliff.
        if memory.refusal is not None or not memory.certain:
            return 0.0
        return capacity(engine, self._expecting.workload, self._expecting.slos)


def _pool(space: Space, start: Candidate, seed: int) -> list[Candidate]:
    """Candidates spread evenly (an additive recurrence of irrational steps, Roberts 2018), half of them with the
    baseline's choices, and the baseline itself."""
    size = len(space.knobs)
    golden = 1.5
    for _ in range(40):  # the root of x^(size + 1) = x + 1
        golden = (1 + golden) ** (1 / (size + 1))
    offset = random.Random(seed).random()
    found = {start.key: start}
    for index in range(_POOL):
        point = [(offset + (index + 1) * golden ** -(axis + 1)) % 1.0 for axis in range(size)]
        values = dict(space.at(point))
        if index % 2:
            keep = (KnobKind.CHOICE, KnobKind.BOOL)
            values |= {k.name: start[k.name] for k in space.knobs if k.kind in keep and k.name in start}
        candidate = space.repair(values)
        found.setdefault(candidate.key, candidate)
    return list(found.values())


def _refined(space: Space, rough: _Rough, seeds: Sequence[Candidate]) -> list[Candidate]:
    """Everything met on the way uphill from `seeds`, best first."""
    met = {candidate.key: candidate for candidate in seeds}
    for candidate in seeds:
        here = candidate
        for _ in range(_ROUNDS):
            around = space.neighbours(here)
            met |= {one.key: one for one in around}
            uphill = max(around, key=rough, default=here)
            if rough(uphill) <= rough(here):
                break
            here = uphill
    return sorted(met.values(), key=lambda one: (-rough(one), one.key))


def _silent(space: Space, rough: _Rough, best: Candidate) -> set[str]:
    """Knobs of which no step changes the expectation: they are left as the baseline has them."""
    heard = set()
    for other in space.neighbours(best):
        # Falling off a cliff is no effect: the knob may do nothing else.
        if rough(other) and abs(rough(other) - rough(best)) > _SILENT * rough(best):
            heard |= {name for name in {*other, *best} if other.get(name) != best.get(name)}
    return {knob.name for knob in space.knobs} - heard


def _apart(space: Space, ordered: Iterable[Candidate], heard: Sequence[str], count: int) -> list[Candidate]:
    """The first `count` of `ordered` that differ enough from each other; fewer only where there are fewer."""
    chosen: list[Candidate] = []
    passed: list[Candidate] = []
    for candidate in ordered:
        gaps = (_gap(space, candidate, other, heard) for other in chosen)
        (passed if min(gaps, default=1.0) < _APART else chosen).append(candidate)
        if len(chosen) == count:
            return chosen
    return (chosen + passed)[:count]


def _moved(candidate: Candidate, start: Candidate) -> int:
    return sum(candidate.get(name) != start.get(name) for name in {*candidate, *start})


def _gap(space: Space, a: Candidate, b: Candidate, heard: Sequence[str]) -> float:
    knobs = [space.by_name[name] for name in heard]
    gaps = [
        abs(grid.position(k, a[k.name]) - grid.position(k, b[k.name])) for k in knobs if k.name in a and k.name in b
    ]
    return max(gaps, default=0.0)


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
        if max(margins.values(), default=-1.0) <= 0:
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


def _if_met(seen: Rehearsal, expecting: Expecting, rate: float) -> tuple[float | None, dict[str, float]]:
    margins = _margins(seen, expecting)
    return (rate if max(margins.values(), default=-1.0) <= 0 and not seen.unserved else None), margins


def _rules(space: Space, start: Candidate) -> list[tuple[Candidate, str]]:
    """Where nothing can be simulated: what the field tries first, around the baseline.

    Defaults favour long steps, which promised latencies rarely allow; so the first moves go the other way.
    """
    moves: list[tuple[dict[str, float], str]] = [
        ({"max_num_batched_tokens": 0.25}, "shorter steps"),
        ({"max_num_seqs": 0.25, "max_num_batched_tokens": 0.0625}, "fewer requests at once in much shorter steps"),
        ({"max_num_seqs": 2.0, "max_num_batched_tokens": 0.125}, "more requests at once in shorter steps"),
        ({"max_num_batched_tokens": 4.0}, "longer steps"),
        ({"max_num_seqs": 0.5}, "fewer requests at once"),
    ]
    found: list[tuple[Candidate, str]] = []
    for factors, why in moves:
        changed = {name: _scaled(start[name], factor) for name, factor in factors.items() if name in space.by_name}
        candidate = space.repair({**start, **changed})
        if changed and candidate != start and candidate not in [known for known, _ in found]:
            found.append((candidate, f"rule of the field: {why} than found"))
    return found


def _scaled(value: Value, factor: float) -> Value:
    return round(float(value) * factor) if isinstance(value, int) else float(value) * factor


def _because(prediction: Prediction, reason: str) -> Prediction:
    return Prediction(**{**prediction.__dict__, "reason": reason})


def _named(settings: Settings) -> dict[str, Value]:
    return settings.as_values()
