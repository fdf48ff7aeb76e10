"""Levels that somebody asked for, one after the other: a measurement without a study around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuner.core.measurement import Answer, Level, Measurement
from tuner.core.request import Driver, LevelPlan, LevelRecords
from tuner.core.slo import Slo
from tuner.core.workload import Load
from tuner.probe.capacity import measure
from tuner.probe.job import Job, Limits
from tuner.probe.session import Session
from tuner.probe.verdict.level import LevelTest, Size, size_of
from tuner.probe.watch import Running, Watched
from tuner.probe.workload.arrivals import Stages, arrivals_of

# A closed loop of a given duration has as many requests at hand as an engine could answer that is twice as fast under
# load as it ever was when nearly idle.
_FASTER = 2.0
_NEARLY = 0.95


@dataclass(frozen=True)
class Extent:
    """How much of a level is wanted whatever it shows: so many requests, so many seconds of sending, or stages.

    A level in stages has a rate that changes, and its load is their mean.
    """

    requests: int | None = None
    duration_s: float | None = None
    stages: Stages | None = None


@dataclass(frozen=True)
class Began:
    """A level begins that sends at most `requests`."""

    load: Load
    requests: int


@dataclass(frozen=True)
class Held:
    """A level that has ended. `recorded` requests ended in it, warm-up and all; `partial`: it ended too soon."""

    level: Level
    recorded: int
    partial: bool = False


Observer = Callable[[Began | Held], None]


class ProbeRun:
    """One run of the probe. `loads` are held in their order; where there are none, the job's objective is measured.

    Without an `extent` a level ends as soon as its SLOs are certain (a closed loop's throughput too), and where there
    are no SLOs when all has ended that was planned for it. `held` are the levels so far, also when `go` did not come to
    its end, and `measurement` is what the objective came to. `observe` is told of levels, but not of the warm-up.
    """

    def __init__(
        self,
        driver: Driver,
        job: Job,
        loads: Sequence[Load] = (),
        extent: Extent | None = None,
        *,
        observe: Observer = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job = replace(job, on_level=self._keep, on_warm=self._warmed)
        self.held: list[Held] = []
        self.measurement: Measurement | None = None
        self.warm = False
        self._loads = tuple(loads)
        self._extent = extent
        self._observe = observe
        self._driver = Watched(driver, self._begun, clock)

    @property
    def running(self) -> Running | None:
        """The level that runs, once the engine is warm."""
        return self._driver.running if self.warm else None

    async def go(self) -> None:
        """Warm the engine up and measure. Raises TrialFailed and InvalidInput as `measure` does."""
        if not self._loads:
            self.measurement = await measure(self._driver, self.job)
            return
        session = await Session.open(self._driver, self.job)
        await self._warmed()
        for load in self._loads:
            if self._extent is None:
                await session.level(load, self.job.slos, precision=_precision(load, self.job))
            else:
                level = await hold(session, load, self.job.slos, self._extent)
                self._keep(level, partial=_ran_out(level, self._extent))

    def cut_off(self) -> None:
        """Keep what is known of a level that was cancelled, or failed, while it ran."""
        running, self._driver.running = self.running, None
        if running is not None and running.records:
            self._add(Held(_as_far(running, self.job.slos, self.job.limits), len(running.records), partial=True))

    async def _warmed(self) -> None:
        self.warm = True

    def _begun(self, plan: LevelPlan) -> None:
        if self.warm:
            self._observe(Began(plan.load, len(plan.requests)))

    def _keep(self, level: Level, partial: bool = False) -> None:
        found = self._driver.found
        assert found is not None
        self._add(Held(level, len(found.records), partial))

    def _add(self, held: Held) -> None:
        self.held.append(held)
        self._observe(held)


async def hold(session: Session, load: Load, slos: Sequence[Slo], extent: Extent) -> Level:
    """Run one level of exactly this extent: it is looked at once, at its end, and never stopped early.

    An open loop sends for the duration, or all requests, and lets them end. A closed loop that is held for a duration
    ends with it: what still runs is counted as unfinished. A level that is void is so marked, and not run again. The
    stages of a level have no trace's times: they bend those of any other process.
    """
    size = _extended(session.size(load, slos), load, extent, session.fastest_s)
    if extent.stages is None:
        requests = session.requests.draw(load, size.requests)
    else:
        process = arrivals_of(Load(rate=1.0), session.job.workload)
        requests = session.requests.spread(replace(extent.stages, process=process), load, size.requests)
    test = LevelTest(load, tuple(slos), requests, size, dispersion=session.requests.dispersion)
    return test.level(await session.driver.level(test.plan(), lambda _: False))


def _precision(load: Load, job: Job) -> float | None:
    """How precisely a level's throughput is to be known (see `LevelTest`)."""
    if not job.slos:
        return 0.0
    return None if load.rate is not None else job.restart_cv / 2


def _ran_out(level: Level, extent: Extent) -> bool:
    """Whether a closed loop had no requests left before its time was over."""
    asked_s = extent.duration_s if level.load.concurrency is not None else None
    return asked_s is not None and level.duration_s < _NEARLY * asked_s


def _extended(size: Size, load: Load, extent: Extent, e2e_s: float) -> Size:
    """A level's size once somebody has said how long it is to be."""
    if extent.stages is not None:
        requests = extent.stages.requests
    elif extent.requests is not None:
        requests = extent.requests
    else:
        assert extent.duration_s is not None
        expected = load.rate or _FASTER * (load.concurrency or 1) / e2e_s
        requests = max(1, math.ceil(expected * extent.duration_s)) + (load.concurrency or 0)
    if load.rate is not None:
        max_s = requests / load.rate + size.timeout_s
    else:
        max_s = extent.duration_s or requests * size.timeout_s
    warmup = min(size.warmup, requests // 2)
    return Size(warmup, requests - warmup, size.timeout_s, max_s)


def _as_far(running: Running, slos: Sequence[Slo], limits: Limits) -> Level:
    """A level as far as it got. That it kept its SLOs until then proves nothing."""
    records = tuple(running.records)
    plan = running.plan
    ended = [record.e2e_s for record in records if record.ok]
    planned = size_of(plan.load, slos, limits, float(np.median(ended)) if ended else 1.0)
    size = Size(planned.warmup, max(1, len(plan.requests) - planned.warmup), plan.timeout_s, plan.max_s)
    duration_s = max(record.end_s for record in records)
    level = LevelTest(plan.load, tuple(slos), plan.requests, size).level(
        LevelRecords(records, duration_s, len(plan.requests))
    )
    return replace(level, answer=Answer.UNCERTAIN) if level.answer is Answer.PASS else level
