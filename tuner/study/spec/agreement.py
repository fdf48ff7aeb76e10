"""Whether the fields of a study agree with each other: rules that speak of two or more of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tuner.core.errors import InvalidInput
from tuner.core.slo import Metric
from tuner.core.workload import Arrival, ObjectiveKind, Shape
from tuner.search.document import read_document
from tuner.search.edits import check, edit
from tuner.search.loading import space_file
from tuner.study.spec.document import FieldPath
from tuner.study.spec.sections import StudySpec
from tuner.study.spec.workload import WorkloadSpec

# Of normal lengths with a larger coefficient of variation more than 1 in 40 would be negative.
_WIDEST_NORMAL = 0.5


@dataclass(frozen=True)
class Disagreement:
    """One broken rule: the field to change, what is wrong with it, and the top-level fields that it speaks of."""

    path: FieldPath
    text: str
    about: frozenset[str]


def disagreements(spec: StudySpec) -> list[Disagreement]:
    """All broken rules of `spec`."""
    rules = (_target, _objective, _slos, _workload, _arrivals, _budget, _knobs)
    return [found for rule in rules for found in rule(spec)]


def _about(*fields: str) -> frozenset[str]:
    return frozenset(fields)


def _target(spec: StudySpec) -> Iterator[Disagreement]:
    target = spec.target
    if (target.kubernetes is None) == (target.simulated is None):
        what = "names no engine" if target.kubernetes is None else "names two engines"
        text = f"{what}; allowed: one of kubernetes: {{...}} and simulated: GPU/MODEL"
        yield Disagreement(("target",), text, _about("target"))
    if target.simulated is None:
        return
    for name in ("model", "gpu", "gpu_count"):
        if getattr(spec, name) is not None:
            there = "target.simulated." + name.removeprefix("gpu_")
            text = f"is for targets that can't tell; of a simulated one, {there} says it"
            yield Disagreement((name,), text, _about("target", name))


def _objective(spec: StudySpec) -> Iterator[Disagreement]:
    kind, rate, concurrency = spec.objective.kind, spec.objective.rate, spec.objective.concurrency
    about = _about("objective")
    if kind is ObjectiveKind.THROUGHPUT and concurrency is None:
        text = "missing; throughput is measured in a closed loop of so many clients, e.g. 64"
        yield Disagreement(("objective", "concurrency"), text, about)
    if kind is ObjectiveKind.HEADROOM and rate is None:
        text = "missing; headroom is measured at a fixed rate of so many requests/s, e.g. 5"
        yield Disagreement(("objective", "rate"), text, about)
    if kind is ObjectiveKind.THROUGHPUT and rate is not None:
        text = f"{rate:g} has no meaning for throughput, which is measured in a closed loop; leave it out"
        yield Disagreement(("objective", "rate"), text, about)
    if kind is not ObjectiveKind.THROUGHPUT and concurrency is not None:
        text = f"{concurrency} has no meaning for {kind.value}, which is measured at a rate; leave it out"
        yield Disagreement(("objective", "concurrency"), text, about)


def _slos(spec: StudySpec) -> Iterator[Disagreement]:
    slos, about = spec.core_slos(), _about("slos", "objective")
    if spec.slos == [] and spec.objective.kind is not ObjectiveKind.THROUGHPUT:
        text = f"is empty; {spec.objective.kind.value} has no meaning without an SLO (throughput has)"
        yield Disagreement(("slos",), text, about)
    for (metric, statistic), times in Counter((slo.metric, slo.statistic) for slo in slos).items():
        if times > 1:
            text = f"{metric.value} {statistic} is bounded {times} times; keep the tightest"
            yield Disagreement(("slos",), text, _about("slos"))
    if spec.workload.stated_lengths and spec.workload.output.mean < 2:
        for slo in slos:
            if slo.metric in (Metric.ITL, Metric.TPOT):
                text = f"gives each request a single token, by which '{slo}' can't be measured"
                yield Disagreement(("workload", "output"), text, _about("slos", "workload"))


# Where requests come from, and what such a source says itself.
_SOURCES = {
    "prompts_file": ("prompt", "shared_prefix", "prefix_groups", "prefix_share", "turns", "think"),
    "trace": ("prompt", "output", "shared_prefix", "prefix_groups", "prefix_share", "turns", "think"),
    "lengths": ("prompt", "output"),
}
_WHY = {
    "prompts_file": "whose prompts have their own lengths",
    "trace": "whose requests have their own lengths and prefixes",
    "lengths": "which has both lengths",
}
# What has no meaning without another field.
_NEEDED = {
    "prefix_groups": ("shared_prefix", "the length of the prefix"),
    "prefix_share": ("shared_prefix", "the length of the prefix"),
    "longest": ("trace", "whose longer requests it leaves out"),
    "held_out": ("prompts_file", "whose prompts it parts"),
}


def _workload(spec: StudySpec) -> Iterator[Disagreement]:
    workload, about = spec.workload, _about("workload")
    sources = [name for name in _SOURCES if getattr(workload, name) is not None]
    for name in sources[1:]:
        text = f"has no meaning beside workload.{sources[0]}: requests come from one of the two; leave one out"
        yield Disagreement(("workload", name), text, about)
    taken = _SOURCES[sources[0]] if sources else ()
    for name in filter(partial(_changed, workload), taken):
        text = f"has no meaning beside workload.{sources[0]}, {_WHY[sources[0]]}; leave it out"
        yield Disagreement(("workload", name), text, about)
    for name, (needed, what) in _NEEDED.items():
        if name not in taken and _changed(workload, name) and not getattr(workload, needed):
            text = f"{getattr(workload, name):g} has no meaning without workload.{needed}, {what}"
            yield Disagreement(("workload", name), text, about)
    if "think" not in taken and workload.think and workload.turns == 1:
        text = "has no meaning without workload.turns, of which it is the time in between"
        yield Disagreement(("workload", "think"), text, about)
    for name in ("prompt", "output"):
        lengths = getattr(workload, name)
        if lengths.shape is Shape.NORMAL and lengths.cv > _WIDEST_NORMAL:
            allowed = f"a number from 0 to {_WIDEST_NORMAL:g}, or shape: log-normal"
            text = f"{lengths.cv:g} is too wide for normal lengths: some would be below 0; allowed: {allowed}"
            yield Disagreement(("workload", name, "cv"), text, about)


def _changed(workload: WorkloadSpec, name: str) -> bool:
    """Whether a field was given, and says something."""
    given = name in workload.model_fields_set
    return given and getattr(workload, name) != type(workload).model_fields[name].default


def _arrivals(spec: StudySpec) -> Iterator[Disagreement]:
    workload, about = spec.workload, _about("workload")
    if spec.objective.kind is ObjectiveKind.THROUGHPUT:
        for name in ("arrivals", "burstiness", "think"):
            if getattr(workload, name):
                text = "has no meaning for throughput, which is measured in a closed loop; leave it out"
                yield Disagreement(("workload", name), text, _about("workload", "objective"))
        return
    if workload.arrivals is Arrival.TRACE and workload.trace is None:
        yield Disagreement(
            ("workload", "arrivals"), "'trace' has no meaning without workload.trace, whose times it replays", about
        )
    if workload.arrivals is Arrival.GAMMA and workload.burstiness is None:
        text = "missing; gamma arrivals need it: 1 is Poisson, less is burstier, e.g. 0.5"
        yield Disagreement(("workload", "burstiness"), text, about)
    if workload.arrivals is not Arrival.GAMMA and workload.burstiness is not None:
        text = f"{workload.burstiness:g} has no meaning unless workload.arrivals is gamma; leave it out"
        yield Disagreement(("workload", "burstiness"), text, about)


def _budget(spec: StudySpec) -> Iterator[Disagreement]:
    budget = spec.budget
    if budget.starts < budget.least_starts:
        fewer = "; or fewer pairs" if budget.pairs > 2 else ""  # 2 are the fewest
        text = (
            f"{budget.starts} is too few; allowed: at least {budget.least_starts} (1 for the baseline, 1 for a "
            f"candidate and {2 * budget.pairs} to confirm it in {budget.pairs} pairs){fewer}"
        )
        yield Disagreement(("budget", "starts"), text, _about("budget"))


def _knobs(spec: StudySpec) -> Iterator[Disagreement]:
    space = read_document(space_file(spec.engine))
    yield from _told(("search", "knobs"), partial(edit, space, spec.search.knobs), "search")
    if spec.target.simulated is not None:
        yield from _told(
            ("target", "simulated", "baseline"), partial(check, space, spec.target.simulated.baseline), "target"
        )


def _told(where: FieldPath, judge: Callable[[str], object], about: str) -> Iterator[Disagreement]:
    """What `judge` finds wrong with the settings at `where`, each at its own place."""
    dotted = ".".join(map(str, where))
    try:
        judge(dotted)
    except InvalidInput as error:
        for problem in error.problems:
            knob, _, text = problem.removeprefix(f"{dotted}.").partition(":")
            yield Disagreement((*where, *knob.split(".")), text.strip(), _about(about, "engine"))
