"""Measures one started engine by the objective of the study."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuner.core.errors import InvalidInput
from tuner.core.measurement import Answer, Level, Measurement
from tuner.core.request import Driver
from tuner.core.workload import Count, Load, ObjectiveKind
from tuner.probe.job import Job
from tuner.probe.session import Session

# Up from an incumbent's rate by this factor; from a known rate of the same configuration by the smaller one.
_STEP = 1.25
_SMALL_STEP = 1.12
# Steps in one direction after which the start was far off, and steps grow.
_STEADY_STEPS = 2
_MOST_STEP = 4.0
_GUESS_CONCURRENCY = 64
_GUESS_S = 20.0
# Enough to see that a bound is exceeded by nearly every request, and no more: one at a time is slow.
_IDLE_REQUESTS = 24
# Latency promises bind below the rate that a full batch reaches.
_GUESS_SHARE = 0.75


async def measure(driver: Driver, job: Job) -> Measurement:
    """Measure the engine behind `driver` by the job's objective (notes on each below).

    The value counts `objective.count` and is higher for better, for every kind of objective:

    * capacity: throughput at the highest rate whose level PASSed, as rate x tokens per request (the rate is offered
      exactly, while the measured one would add the noise of arrivals). None where no level passed; `value_high` is set
      where the candidate did not pass at the incumbent's rate and the search ended there.
    * throughput: throughput of the closed loop, None unless its level PASSed.
    * headroom: 1 - (worst statistic / bound) at the fixed rate, None unless its level PASSed.

    A level that is UNCERTAIN at its end has not passed. Raises TrialFailed: what the driver raises, probe-error where
    the probe was saturated twice, foreign-traffic where the engine served others twice. Raises InvalidInput for a
    workload that can't be read or an objective that lacks its load.
    """
    _check(job)
    session = await Session.open(driver, job)
    if job.on_warm is not None:
        await job.on_warm()
    match job.objective.kind:
        case ObjectiveKind.CAPACITY:
            return await _Search(session, job).run()
        case ObjectiveKind.THROUGHPUT:
            return await _throughput(session, job)
        case ObjectiveKind.HEADROOM:
            return await _headroom(session, job)


def _check(job: Job) -> None:
    objective = job.objective
    if objective.kind is ObjectiveKind.THROUGHPUT and not objective.concurrency:
        raise InvalidInput("objective.concurrency is missing; the throughput objective needs a number from 1")
    if objective.kind is ObjectiveKind.HEADROOM and not objective.rate:
        raise InvalidInput("objective.rate is missing; the headroom objective needs a rate in requests/s")
    if objective.kind is ObjectiveKind.HEADROOM and not job.slos:
        raise InvalidInput("slos is empty; the headroom objective needs at least one SLO to keep away from")


async def _throughput(session: Session, job: Job) -> Measurement:
    level = await session.level(Load(concurrency=job.objective.concurrency), job.slos, precision=job.restart_cv / 2)
    value = _counted(level, job.objective.count) if level.answer is Answer.PASS else None
    return Measurement(tuple(session.levels), value, len(session.levels) - 1)


async def _headroom(session: Session, job: Job) -> Measurement:
    level = await session.level(Load(rate=job.objective.rate), job.slos, precision=0.0)
    worst = max(test.violation for test in level.tests)
    return Measurement(tuple(session.levels), -worst if level.answer is Answer.PASS else None, len(session.levels) - 1)


def _counted(level: Level, count: Count) -> float:
    match count:
        case Count.OUTPUT_TOKENS:
            return level.output_token_rate
        case Count.TOTAL_TOKENS:
            return level.total_token_rate
        case Count.REQUESTS:
            return level.request_rate


def _mostly_exceeded(level: Level) -> bool:
    return any(test.exceeding > test.count / 2 for test in level.tests)


@dataclass
class _Search:
    """The search for the highest rate that passes: gallop until it is between a pass and a fail, then bisect."""

    session: Session
    job: Job
    passed: float | None = None
    failed: float | None = None
    idle: Level | None = None

    async def run(self) -> Measurement:
        if self.job.incumbent_rate is not None and not self.job.full:
            if not await self._try(self.job.incumbent_rate):
                return self._measurement(censored_at=self.job.incumbent_rate)
            await self._gallop(_STEP)
        else:
            known = self.job.start_rate or self.job.incumbent_rate or self.job.objective.rate
            await self._try(known or await self._guess())
            await self._gallop(_SMALL_STEP if known else _STEP)
        await self._bisect()
        return self._measurement()

    async def _try(self, rate: float) -> bool:
        level = await self.session.level(Load(rate=rate), self.job.slos)
        if level.answer is Answer.PASS:
            self.passed = rate
            return True
        self.failed = rate
        return False

    async def _guess(self) -> float:
        """A rate to begin with: a share of what a short closed loop of many clients reaches."""
        load = Load(concurrency=_GUESS_CONCURRENCY)
        level = await self.session.level(load, (), max_s=max(_GUESS_S, 3 * self.session.e2e_s))
        return _GUESS_SHARE * (level.request_rate or 1 / self.session.e2e_s)

    async def _gallop(self, step: float) -> None:
        """Go up from a pass or down from a fail until both are known, with growing steps."""
        steps = 0
        while (self.passed is None or self.failed is None) and not self.session.exhausted:
            if steps >= _STEADY_STEPS:
                step = min(step * step, _MOST_STEP)
            if self.passed is None and steps == 1 and not await self._passes_idle():
                return
            if self.passed is not None:
                await self._try(self.passed * step)
            else:
                assert self.failed is not None
                await self._try(self.failed / step)
            steps += 1

    async def _passes_idle(self) -> bool:
        """Whether the SLOs hold for one request at a time; where they don't, no rate will do."""
        if not any(_mostly_exceeded(level) for level in self.session.levels):
            return True
        self.idle = await self.session.level(Load(concurrency=1), self.job.slos, most=_IDLE_REQUESTS)
        return self.idle.answer is not Answer.FAIL and not self.session.exhausted

    async def _bisect(self) -> None:
        """Halve the bracket (in ratio) until its half width is below half of the noise between starts."""
        while self.passed is not None and self.failed is not None and not self.session.exhausted:
            if self.failed / self.passed - 1 <= self.job.restart_cv:
                return
            await self._try(math.sqrt(self.passed * self.failed))

    def _measurement(self, censored_at: float | None = None) -> Measurement:
        deciding = self._deciding()
        level = self.session.levels[deciding]
        value = None if self.passed is None else self._value(self.passed, level)
        high = None if censored_at is None else self._value(censored_at, level)
        return Measurement(tuple(self.session.levels), value, deciding, high)

    def _deciding(self) -> int:
        """The passed level of the highest rate; without one, the level nearest to passing."""
        rates = [
            (level.load.rate, level.answer is Answer.PASS, index)
            for index, level in enumerate(self.session.levels)
            if level.load.rate is not None and not (level.saturated or level.foreign)
        ]
        passed = [(rate, index) for rate, ok, index in rates if ok]
        if passed:
            return max(passed)[1]
        if self.idle is not None and self.idle.answer is Answer.FAIL:
            return self.session.levels.index(self.idle)
        return min((rate, index) for rate, _, index in rates)[1]

    def _value(self, rate: float, level: Level) -> float:
        if self.job.objective.count is Count.REQUESTS:
            return rate
        tokens = _counted(level, self.job.objective.count)
        if level.request_rate > 0:
            return rate * tokens / level.request_rate
        return rate * self.session.requests.mean_output_tokens
