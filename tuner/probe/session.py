"""One started engine under measurement: warmed up once, then level after level within the limits."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.measurement import Answer, Level
from tuner.core.request import Driver, LevelPlan, LevelRecords, PlannedRequest, RequestRecord
from tuner.core.slo import Slo
from tuner.core.workload import Load
from tuner.probe.client.stream import kind_of
from tuner.probe.job import Job
from tuner.probe.verdict.level import LevelTest, Size, size_of
from tuner.probe.verdict.steadiness import LATENCIES
from tuner.probe.workload.requests import Requests

_WARMUP_CONCURRENCY = 4
_WARMUP_REQUESTS = 12
_MOST_WARMUP_REQUESTS = 200  # of more shared prefixes than that an engine keeps a part only, whatever it met first
_WARMUP_TIMEOUT_S = 300.0
# Below this a level can't say anything: the study's deadline comes first.
_LEAST_LEVEL_S = 5.0


@dataclass
class Session:
    """Levels of one start, in order; `levels` holds all of them, void ones too.

    `e2e_s` is the e2e latency of the unloaded engine, and later that of the last open loop that it held: how long it
    takes to fill. `fastest_s` is the least that the unloaded engine took.
    """

    driver: Driver
    job: Job
    requests: Requests
    levels: list[Level] = field(default_factory=list)
    e2e_s: float = 1.0
    fastest_s: float = 1.0
    _spent_s: float = 0.0

    @classmethod
    async def open(cls, driver: Driver, job: Job) -> Session:
        """Read the workload, and warm the engine up."""
        session = cls(driver, job, Requests.of(job.workload, job.seed, job.pattern_seed, driver.needs_text))
        await session._calibrate()
        await session._warm_up()
        return session

    @property
    def left_s(self) -> float:
        """Seconds that the measurement may still take."""
        left = self.job.limits.total_s - self._spent_s
        return left if self.job.limits.left_s is None else min(left, self.job.limits.left_s())

    @property
    def exhausted(self) -> bool:
        """Whether the limits allow no further level."""
        return len(self.levels) >= self.job.limits.levels or self.left_s < _LEAST_LEVEL_S

    async def level(
        self,
        load: Load,
        slos: Sequence[Slo],
        *,
        precision: float | None = None,
        most: int | None = None,
        max_s: float = math.inf,
        proof: bool = False,
    ) -> Level:
        """Run one level of at most `most` measured requests and `max_s` seconds (None, infinity: sized for its SLOs).

        A `proof` may take longer, so that it can pass in spite of some exceedances. A level that is void is run once
        more; void again, it raises TrialFailed.
        """
        size = self.size(load, slos, proof)
        if most is not None:
            size = replace(size, count=min(size.count, most), max_s=min(size.max_s, size.enough_s))
        size = replace(size, max_s=min(size.max_s, max_s))
        level = await self._level(load, slos, precision, size)
        if level.saturated or level.foreign:
            level = await self._level(load, slos, precision, size)
        if level.foreign:
            raise TrialFailed(
                Failure(
                    Cause.FOREIGN_TRAFFIC,
                    f"the engine served requests that are not ours at {load}: what was measured there is void",
                )
            )
        if level.saturated:
            raise TrialFailed(
                Failure(
                    Cause.PROBE_ERROR,
                    f"the probe was saturated at {load}: it could not send or read in time, which says nothing of the "
                    "engine; give the tuner's machine more processor time",
                )
            )
        return level

    def level_s(self, rate: float, *, proof: bool = False) -> float:
        """Seconds that a level (or a proof) at `rate` takes, roughly, where nothing ends it early."""
        size = self.size(Load(rate=rate), self.job.slos, proof)
        opening_s = self.requests.opening(Load(rate=rate)) / rate
        return opening_s + size.count / rate + LATENCIES * self.e2e_s

    def size(self, load: Load, slos: Sequence[Slo], proof: bool = False) -> Size:
        """How much a level at this load sends, by what is known of the engine and its requests so far."""
        most = self.requests.most_output_tokens
        size = size_of(load, slos, self.job.limits, self.e2e_s, most_tokens=most, proof=proof)
        opening = self.requests.opening(load)
        if not opening or load.rate is None:
            return size
        warmup, most = size.warmup + opening, size.most + opening
        return replace(size, warmup=warmup, most=most, max_s=size.max_s + opening / load.rate)

    async def _level(self, load: Load, slos: Sequence[Slo], precision: float | None, size: Size) -> Level:
        size = replace(size, max_s=max(_LEAST_LEVEL_S, min(size.max_s, self.left_s)))
        requests = self.requests.draw(load, size.requests)
        test = LevelTest(load, tuple(slos), requests, size, precision, dispersion=self.requests.dispersion)
        found = await self.driver.level(test.plan(), test.stop)
        self._spent_s += found.duration_s
        level = test.level(found)
        self.levels.append(level)
        if load.rate is not None and level.answer is not Answer.FAIL and "e2e" in level.statistics:
            self.e2e_s = level.statistics["e2e"].p50
        await self._announce(level)
        return level

    async def _announce(self, level: Level) -> None:
        if self.job.on_level is not None:
            told = self.job.on_level(level)
            if inspect.isawaitable(told):
                await told

    async def _calibrate(self) -> None:
        """Learn how words become tokens here, from two short prompts."""
        if not (self.driver.needs_text and self.requests.source.synthetic):
            return
        tokens = round(self.requests.source.mean_prompt_tokens)
        words = [max(4, tokens // 16), max(8, tokens // 4)]
        found = await self._closed_loop(self.requests.of_words(words, 2), 1)
        self.requests.calibrate(
            [(words[record.planned.index], record.prompt_tokens) for record in found.records if record.ok]
        )

    async def _warm_up(self) -> None:
        """Send a few requests before anything counts: first requests compile, allocate and meet no shared prefix."""
        load = Load(concurrency=_WARMUP_CONCURRENCY)
        workload = self.job.workload
        to_meet_all = math.ceil(workload.prefix_groups / workload.prefix_share) if workload.shared_prefix else 0
        count = max(_WARMUP_REQUESTS, min(to_meet_all, _MOST_WARMUP_REQUESTS))
        found = await self._closed_loop(self.requests.draw(load, count), _WARMUP_CONCURRENCY)
        ok = [record for record in found.records if record.ok]
        if not ok:
            raise TrialFailed(_warmup_failure(found.records))
        latencies_s = [record.e2e_s for record in ok]
        self.e2e_s, self.fastest_s = float(np.median(latencies_s)), min(latencies_s)

    async def _closed_loop(self, requests: tuple[PlannedRequest, ...], concurrency: int) -> LevelRecords:
        plan = LevelPlan(Load(concurrency=concurrency), requests, (), _WARMUP_TIMEOUT_S, _WARMUP_TIMEOUT_S)
        found = await self.driver.level(plan, lambda _: False)
        self._spent_s += found.duration_s
        return found


def _warmup_failure(records: Sequence[RequestRecord]) -> Failure:
    errors = [record.error for record in records if record.error is not None]
    if not errors:
        return Failure(Cause.CRASH_UNDER_LOAD, "the engine answered none of the warm-up requests in time")
    # A request that the server refuses as wrong says that the probe (or the workload) does not fit, not the engine.
    ours = kind_of(errors[0]).startswith("http 4")
    return Failure(
        Cause.PROBE_ERROR if ours else Cause.CRASH_UNDER_LOAD,
        f"all warm-up requests failed: {errors[0]}",
        "\n".join(sorted(set(errors))[:5]),
    )
