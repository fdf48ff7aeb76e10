"""Which candidates to try first: by what planner and simulator expect of them, else by the rules of the field.

A prior with the wrong sign costs the few starts that it chose, and no more: the sampler is never told of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from tuner.core.cause import TrialFailed
from tuner.core.knob import Candidate, KnobKind, Value
from tuner.core.workload import Objective
from tuner.search import grid
from tuner.search.prediction import Expecting, Prediction, predict
from tuner.search.space import Space
from tuner.search.steady import capacity

_POOL = 96  # candidates looked at in closed form
_REFINED = 3  # of them, how many are improved step by step
_ROUNDS = 4
_FINALISTS = 6  # how many are simulated
_SILENT = 0.005  # a knob whose steps change the expectation by less than this is silent
_APART = 0.12  # suggestions lie at least this far apart, see Space.distance
_TIE = 0.02  # what is expected to be this much worse than the baseline is not tried first

Rough = Callable[[Candidate], float]


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
    rough = _closed_form(expecting)
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
    return [replace(p, reason=f"the simulator's choice no. {i + 1}") for i, p in enumerate(worthwhile[:count])]


def _worthwhile(value: float | None, before: float | None, objective: Objective) -> bool:
    gain = objective.gain(value, before)
    return before is None or (gain is not None and gain >= -_TIE)


def _closed_form(expecting: Expecting) -> Rough:
    """The rough capacity of a candidate in requests/s; 0 where it would not start for certain."""

    @cache
    def rate(candidate: Candidate) -> float:
        try:
            engine, memory = expecting.engine(candidate)
        except TrialFailed:
            return 0.0
        # The first starts should not be spent near a cliff.
        if memory.refusal is not None or not memory.certain:
            return 0.0
        return capacity(engine, expecting.workload, expecting.slos)

    return rate


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


def _refined(space: Space, rough: Rough, seeds: Sequence[Candidate]) -> list[Candidate]:
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


def _silent(space: Space, rough: Rough, best: Candidate) -> set[str]:
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
