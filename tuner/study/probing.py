"""What `tuner probe` is asked to do: its options, read and judged as those of a study are."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from tuner.core.errors import InvalidInput
from tuner.core.slo import Slo
from tuner.core.workload import Arrival, Count, Load, Objective, ObjectiveKind, Workload
from tuner.probe import Job, Limits
from tuner.probe.client.driver import HEADER_NAME
from tuner.probe.run import Extent
from tuner.probe.workload.arrivals import Stage, Stages
from tuner.study import units
from tuner.study.spec import StudySpec, load_spec
from tuner.study.spec.complaints import complaint, explain
from tuner.study.spec.document import FieldPath, parse_scalar
from tuner.study.spec.fields import Duration
from tuner.study.spec.quantity import parse_duration
from tuner.study.spec.section import Section
from tuner.study.spec.sections import LEAST_PROMISE

_OWN = (
    "url",
    "file",
    "stages",
    "rate",
    "concurrency",
    "capacity",
    "requests",
    "duration",
    "processes",
    "model",
    "header",
)
_HEADER = re.compile(rf"\s*({HEADER_NAME})\s*:\s*(\S.*?)\s*")
_SEEDS = 2**32
#: Prompts are made before their level: some 17 bytes for each of their tokens (3.4 GB).
_MOST_TOKENS = 200_000_000
_ENDPOINT = "--endpoint: target.kubernetes.endpoint:"
_MODES = (
    "--rate 5 or --rate 2,4,8 (levels at these rates), --concurrency 16 (clients that wait), --stages 30s:2,60s:2..8 "
    "(a rate that changes), or --capacity"
)
_STAGE = "DURATION:REQ/S or DURATION:REQ/S..REQ/S, e.g. 30s:2,60s:2..8,30s:8"


class _Sizes(Section):
    """How much is sent, and by how many processes."""

    requests: int | None = Field(default=None, ge=1, le=1_000_000)
    duration: Duration | None = Field(default=None, ge=1, le=86400, description="a time of 1s to 24h, e.g. 60s")
    processes: int = Field(default=1, ge=1, le=64)


@dataclass(frozen=True)
class Probing:
    """One run of the probe, as asked for.

    `loads` are levels to be held; where there are none, the capacity is searched for, from `start_rate` (requests/s;
    None: guessed). `slos` are empty where nothing was promised. `assumed` is what the user left open, in sentences.
    """

    endpoint: str
    model: str | None
    headers: Mapping[str, str]
    workload: Workload
    slos: tuple[Slo, ...]
    loads: tuple[Load, ...]
    start_rate: float | None
    extent: Extent | None
    processes: int
    seed: int
    limits: Limits
    assumed: tuple[str, ...] = ()

    @property
    def job(self) -> Job:
        """As the probe takes it."""
        objective = Objective(ObjectiveKind.CAPACITY, Count.REQUESTS, self.start_rate)
        return Job(self.workload, objective, self.slos, self.seed, full=True, limits=self.limits)


def read_probing(options: Mapping[str, Any]) -> Probing:
    """Read the options of `tuner probe`, by their names; None, False and empty lists are not given.

    A study's `file` says what they leave open of workload, promises and limits; its target is not looked at.

    Raises InvalidInput with every mistake: the option, the value and what is allowed.
    """
    given = {name: value for name, value in options.items() if value not in (None, False, [])}
    stages, problems = _stages(given)
    specs, unread = _specs(given, stages)
    sizes, found = _sizes(given)
    headers, wrong = _headers(given.get("header", []))
    problems = [*_modes(given), *problems, *unread, *found, *wrong]
    if problems or not specs or sizes is None:
        raise InvalidInput(*dict.fromkeys(problems))
    first = specs[0]
    workload = first.core_workload()
    if stages is not None and workload.arrivals is Arrival.TRACE:
        raise InvalidInput(
            "--stages: bend the times of arrivals, and a trace has its own; add --arrivals poisson, or leave them out"
        )
    longest_s = (stages.seconds if stages else sizes.duration or 0.0) * len(specs)
    if "probe" in given and longest_s > first.core_limits().total_s:
        raise InvalidInput(
            f"--probe: {given['probe']} is less than the {units.duration(longest_s)} that the levels take by themselves"
        )
    _refuse_too_much(workload, [spec.objective.rate or 0.0 for spec in specs], sizes, stages)
    capacity = "capacity" in given
    slos = first.core_slos() if capacity or "slo" in given or ("file" in given and first.slos is not None) else ()
    extent = Extent(sizes.requests, sizes.duration, stages)
    assert first.target.kubernetes is not None
    assert first.target.kubernetes.endpoint is not None
    return Probing(
        endpoint=first.target.kubernetes.endpoint.removesuffix("/v1"),
        model=given.get("model"),
        headers=headers,
        workload=workload,
        slos=slos,
        loads=() if capacity else tuple(_load(spec) for spec in specs),
        start_rate=first.objective.rate if capacity else None,
        extent=None if extent == Extent() else extent,
        processes=sizes.processes,
        # A server's prefix cache outlives a run: texts that it has seen would be answered too soon.
        seed=first.seed if "seed" in first.model_fields_set else secrets.randbelow(_SEEDS),
        limits=first.core_limits(),
        assumed=tuple(one for one in first.assumed if one.startswith(("workload", "slos") if slos else "workload")),
    )


def _refuse_too_much(workload: Workload, rates: Sequence[float], sizes: _Sizes, stages: Stages | None) -> None:
    """Raise InvalidInput where what is to be sent, which is made before its level, would not fit into memory."""
    tokens = workload.prompt.mean + workload.mean_prefix + workload.mean_history
    for rate in rates:
        count = stages.requests if stages else sizes.requests or rate * (sizes.duration or 0.0)
        if count * tokens > _MOST_TOKENS and workload.prompts_file is None:
            raise InvalidInput(
                f"{count:,.0f} requests of {tokens:,.0f} prompt tokens each are too many for one level; "
                f"allowed: {_MOST_TOKENS:,} tokens in all, here {_MOST_TOKENS / tokens:,.0f} requests"
            )


def _modes(given: Mapping[str, Any]) -> Iterator[str]:
    """Whether what is to be measured is said once, and fits together."""
    modes = [name for name in ("rate", "concurrency", "stages", "capacity") if name in given]
    if not modes:
        yield f"say what to measure: {_MODES}"
    capacity = "capacity" in modes
    if len(modes) > 1 and modes != ["rate", "capacity"]:
        yield f"--{modes[-1]}: is given together with --{modes[0]}; allowed: one of {_MODES}"
    elif capacity and "," in str(given.get("rate", "")):
        yield f"--rate: {given['rate']!r} is several; with --capacity it is where the search begins, e.g. --rate 5"
    for name in ("requests", "duration"):
        if capacity and name in given:
            yield f"--{name}: has no meaning for --capacity, whose levels last until they are certain; leave it out"
        if "stages" in modes and name in given:
            yield f"--{name}: has no meaning for --stages, which say how long they last; leave it out"
    if str(given.get("file")) == "-" and "," in f"{given.get('rate', '')}{given.get('concurrency', '')}":
        yield "--file: - can be read once, which is not enough for several levels; allowed: the path of a file"
    if "requests" in given and "duration" in given:
        yield "--duration: is given together with --requests; allowed: one of them"


def _stages(given: Mapping[str, Any]) -> tuple[Stages | None, list[str]]:
    """The stages of a changing rate."""
    if "stages" not in given:
        return None, []
    try:
        return Stages(tuple(_stage(part) for part in given["stages"].split(","))), []
    except ValueError:
        return None, [f"--stages: {given['stages']!r} can't be read; allowed: {_STAGE}"]


def _stage(text: str) -> Stage:
    duration, _, rates = text.partition(":")
    begin, dots, end = rates.partition("..")
    return Stage(parse_duration(duration), float(begin), float(end) if dots else None)


def _specs(given: Mapping[str, Any], stages: Stages | None) -> tuple[list[StudySpec], list[str]]:
    """A study's specification for each load, and what is wrong with them."""
    specs, problems = [], []
    shared = {"endpoint": given["url"], **{name: value for name, value in given.items() if name not in _OWN}}
    if not given.keys() & {"slo", "file", "capacity"}:  # a study would assume promises of latency
        shared["slo"] = [str(LEAST_PROMISE)]
    for objective in _objectives(given, stages):
        try:
            specs.append(load_spec(given.get("file"), {**shared, **objective}))
        except InvalidInput as error:
            problems += [problem.replace(_ENDPOINT, "URL:", 1) for problem in error.problems]
    return specs, problems


def _objectives(given: Mapping[str, Any], stages: Stages | None) -> list[dict[str, str]]:
    """The objectives of studies that hold the same loads."""
    if stages is not None:
        return [{"objective": ObjectiveKind.HEADROOM.value, "rate": f"{stages.rate:.6g}"}]
    if "capacity" in given or not given.keys() & {"rate", "concurrency"}:
        start = {name: given[name] for name in ("rate",) if "," not in given.get(name, ",")}
        return [{"objective": ObjectiveKind.CAPACITY.value, **start}]
    name, kind = ("rate", ObjectiveKind.HEADROOM) if "rate" in given else ("concurrency", ObjectiveKind.THROUGHPUT)
    return [{"objective": kind.value, name: text.strip()} for text in str(given[name]).split(",")]


def _load(spec: StudySpec) -> Load:
    objective = spec.objective
    return Load(rate=objective.rate) if objective.kind is ObjectiveKind.HEADROOM else Load(None, objective.concurrency)


def _sizes(given: Mapping[str, Any]) -> tuple[_Sizes | None, list[str]]:
    data, problems = {}, []
    for name in _Sizes.model_fields:
        if name in given:
            try:
                data[name] = parse_scalar(given[name])
            except ValueError as error:
                problems.append(f"--{name}: {error}")
    try:
        return _Sizes.model_validate(data), problems
    except ValidationError as error:
        sources: dict[FieldPath, str] = {(name,): f"--{name}" for name in data}
        return None, problems + [complaint(*explain(one, _Sizes, data), sources) for one in error.errors()]


def _headers(texts: list[str]) -> tuple[dict[str, str], list[str]]:
    """Headers by name. What can't be read is not repeated: it may hold a secret."""
    headers, problems = {}, []
    for number, text in enumerate(texts, 1):
        match = _HEADER.fullmatch(text)
        if match is None:
            problems.append(f"--header: number {number} is no header; allowed: NAME: VALUE, e.g. 'X-Team: search'")
        else:
            headers[match[1]] = match[2]
    return headers, problems
