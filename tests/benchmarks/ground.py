"""What the benchmarks stand on: scenarios on simulated engines, whole trial loops on them, noise-free yardsticks."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from tuner.core.cause import TrialFailed
from tuner.core.knob import Candidate, Value
from tuner.core.request import LevelPlan, RequestRecord
from tuner.core.slo import Slo, parse_slo
from tuner.core.target import TargetInfo
from tuner.core.workload import Load, Objective, Workload
from tuner.probe import Limits
from tuner.probe.verdict.statistics import latencies
from tuner.search import Screen, Space, load_space
from tuner.search.sampler import Sampler
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.memory import plan
from tuner.simulator.requests import plan_requests
from tuner.simulator.run import LevelRun
from tuner.simulator.scheduler import Scheduler
from tuner.simulator.settings import DEFAULT_VERSION, resolve
from tuner.simulator.truth import Truth
from tuner.store import Store
from tuner.study.aim import Aim
from tuner.study.budget import Budget, Ledger
from tuner.study.loop import TrialLoop
from tuner.study.progress import Event
from tuner.study.session import no_http
from tuner.targets.simulated import SimulatedTarget

Made = TypeVar("Made", bound=SimulatedTarget)

_RESOLVED = 1.005
_STEP = 1.15
_FILLING = 0.15
DOCUMENT = Path(__file__).parents[2] / "docs" / "results.md"


@dataclass(frozen=True)
class Scenario:
    """A model on GPUs under a workload with promises, and what its owner runs today."""

    name: str
    model: str
    gpu: str
    workload: Workload
    slos: tuple[str, ...]
    gpu_count: int = 1
    baseline: Candidate = field(default_factory=Candidate)
    fixed: tuple[tuple[str, Value], ...] = (("max_model_len", 8192),)
    allow_output_change: bool = False

    @property
    def promises(self) -> tuple[Slo, ...]:
        """The SLOs, parsed."""
        return tuple(map(parse_slo, self.slos))

    def target(self, truth: Truth) -> SimulatedTarget:
        """The engine with this hidden truth."""
        return self.made(SimulatedTarget, truth)

    def made(self, kind: type[Made], truth: Truth) -> Made:
        """The same as a target of another class."""
        model, gpu = MODELS[self.model], GPUS[self.gpu]
        return kind(model, gpu, self.gpu_count, self.baseline, dict(self.fixed), truth=truth)

    def space(self, info: TargetInfo) -> Space:
        """The search space that a study of it has."""
        return load_space("vllm", info, allow_output_change=self.allow_output_change)

    def screen(self, space: Space) -> Screen:
        """The planner's screen, as at the beginning of a study."""
        return Screen(space, MODELS[self.model], GPUS[self.gpu], self.gpu_count, dict(self.fixed), DEFAULT_VERSION)


@dataclass
class Yardstick:
    """Noise-free figures of one scenario under one truth, by long levels and point estimates. Remembers what it knows.

    `requests` per level, the first 15 % of them left out. The pattern of arrivals is the same for all candidates.
    """

    scenario: Scenario
    truth: Truth
    requests: int = 1500
    pattern: int = 77
    scale: Callable[[Candidate], float] = lambda _: 1.0
    known: dict[str, float] = field(default_factory=dict)

    def holds(self, candidate: Candidate, rate: float) -> bool:
        """Whether every SLO's statistic is within its bound at `rate`; False where the engine would not start."""
        s = self.scenario
        model, gpu = MODELS[s.model], GPUS[s.gpu]
        try:
            settings = resolve(candidate, dict(s.fixed), model, gpu, s.gpu_count, DEFAULT_VERSION)
        except TrialFailed:
            return False
        memory = plan(model, gpu, settings, self.truth.memory(DEFAULT_VERSION))
        if memory.refusal is not None:
            return False
        cost = self.truth.cost(model, gpu, settings, 0)
        scheduler = Scheduler(settings, memory.kv_tokens, cost, acceptance=self.truth.acceptance(settings), seed=1)
        load = Load(rate=rate)
        planned = plan_requests(s.workload, load, self.requests, self.pattern)
        filling = round(_FILLING * self.requests)
        looks = tuple(range(filling + 50, self.requests, 50))
        broken = _Broken(s.promises, filling, self.requests)
        found = LevelRun(scheduler, LevelPlan(load, planned, looks, 900.0, math.inf), stop=broken).run()
        seen = [record for record in found.records if record.planned.index >= filling]
        return not broken.seen and all(r.ok for r in seen) and all(_met(slo, seen) for slo in s.promises)

    def capacity(self, candidate: Candidate, guess: float = 4.0) -> float:
        """The highest rate that holds, in requests/s, to half a percent; 0 where none over 0.02 does."""
        if candidate.key not in self.known:
            self.known[candidate.key] = self._search(candidate, guess)
        return self.known[candidate.key]

    def _search(self, candidate: Candidate, guess: float) -> float:
        low: float | None = None
        high: float | None = None
        rate, step = guess, _STEP
        while low is None or high is None or high / low > _RESOLVED:
            if self.holds(candidate, rate):
                low = rate
            else:
                high = rate
            if low is not None and high is not None:
                rate = math.sqrt(low * high)
            else:
                rate = rate * step if high is None else rate / step
                step = min(step * _STEP, 3.0)
            if rate < 0.02:
                return 0.0
        return low


@dataclass
class _Broken:
    """Sees while a level runs that some SLO can't hold any more: more are over its bound than may be in all."""

    slos: Sequence[Slo]
    filling: int
    requests: int
    seen: bool = False

    def __call__(self, records: Sequence[RequestRecord]) -> bool:
        """Whether to stop."""
        for slo in self.slos:
            if slo.metric.value in ("ttft", "tpot", "e2e") and slo.allowed_share is not None:
                late = [r for r in records if r.planned.index >= self.filling]
                over = (latencies(slo.metric, late) > slo.bound).sum()
                self.seen |= bool(over > slo.allowed_share * (self.requests - self.filling) + 1)
        return self.seen


def _met(slo: Slo, records: Sequence[RequestRecord]) -> bool:
    values = latencies(slo.metric, records)
    if slo.statistic == "mean":
        return bool(values.mean() <= slo.bound)
    return float(np.percentile(values, int(slo.statistic[1:]))) <= slo.bound


async def loop_on(
    scenario: Scenario,
    target: SimulatedTarget,
    store: Store,
    sampler: Callable[[Space, TargetInfo, int], Sampler],
    *,
    starts: int,
    pairs: int,
    seed: int,
    observe: Callable[[Event], None] = lambda _: None,
) -> TrialLoop:
    """A trial loop as a study has it; `sampler` is made from the space, what the target showed and the study's id."""
    await target.acquire("benchmark")
    info = await target.inspect()
    space = scenario.space(info)
    study = store.create_study(
        name=f"{scenario.name}-{seed}-{len(store.studies())}", spec={}, target=info.name, info={}, now=datetime.now(UTC)
    )
    return TrialLoop(
        study_id=study.id,
        aim=Aim(
            workload=scenario.workload,
            objective=Objective(),
            slos=scenario.promises,
            seed=seed,
            smallest_gain=0.05,
            restart_cv=0.035,
            limits=Limits(),
            rollout_deadline_s=1800.0,
        ),
        info=info,
        ledger=Ledger(Budget(starts, None, None, pairs)),
        store=store,
        target=target,
        connect=no_http,
        space=space,
        screen=scenario.screen(space),
        sampler=sampler(space, info, study.id),
        observe=observe,
        clock=lambda: datetime.now(UTC),
    )


def remembered(name: str, key: str, make: Callable[[], dict[str, Any]], fresh: bool) -> dict[str, Any]:
    """`make()`, or what it gave for the same `key` before: long benchmarks go on where they were stopped."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuner" / "benchmarks" / name
    path = home / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"
    if path.is_file() and not fresh:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    found = make()
    home.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found), encoding="utf-8")
    part.replace(path)
    return found


def publish(section: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, write: bool) -> None:
    """Print a benchmark's table; `write` puts it into its section of the results document too."""
    table = Table(*header, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=180).print(table)
    if write:
        write_section(section, markdown(header, rows))


def write_section(name: str, lines: Sequence[str], path: Path = DOCUMENT) -> None:
    """Put `lines` between the marks of section `name` of the results document."""
    begin, end = f"<!-- {name}: written by the benchmark -->", f"<!-- end of {name} -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise LookupError(f"{path} has no section {name!r}: it needs the lines {begin!r} and {end!r}")
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}", encoding="utf-8")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table for the results document."""
    body = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return ["| " + " | ".join(row) + " |" for row in body]
