"""Measures one started engine by the objective of the study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.core.errors import InvalidInput
from tuner.core.measurement import Answer, Level, Measurement, SloTest
from tuner.core.request import Driver
from tuner.core.slo import Slo
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
# Clients that begin together end together: enough for each of them to have begun three times, or a minute.
_GUESS_REQUESTS = 2 * _GUESS_CONCURRENCY
_GUESS_S = 60.0
# Enough to see that a bound is exceeded by nearly every request, and no more: one at a time is slow.
_IDLE_REQUESTS = 24
# Latency promises bind below the rate that a full batch reaches.
_GUESS_SHARE = 0.75
# Violation of every SLO below which a guess is worth its time.
_FAR = -0.5
# Log odds by which the share of exceedances must be under the allowed one (about 0.4 of it) for a level to prove it.
_PROVABLE = 1.0
_PROOF_STEPS = 0.5, 0.9
_PROOFS = 2  # levels to set time aside for


async def measure(driver: Driver, job: Job) -> Measurement:
    """Measure the engine behind `driver` by the job's objective (notes on each below).

    The value counts `objective.count` and is higher for better, for every kind of objective:

    * capacity: throughput at the rate at which the SLOs cease to hold, as rate x the workload's mean tokens (the rate
      is offered exactly, while what was served would add the noise of arrivals), without what failed and what an
      overload would leave waiting. It is an estimate, from levels on both sides, for comparing. What was proven, and
      may be promised, is the deciding level: the PASSed one of the highest rate. None where no level PASSed;
      `value_high` is set where the SLOs did not hold at the incumbent's rate and the search ended there.
    * throughput: throughput of the closed loop, None unless its level PASSed.
    * headroom: 1 - (worst statistic / bound) at the fixed rate, None unless its level PASSed.

    A level that is UNCERTAIN at its end has not passed: it leads the search, and proves nothing. Raises TrialFailed:
    what the driver raises, probe-error where the probe was saturated twice, foreign-traffic where the engine served
    others twice. Raises InvalidInput for a workload that can't be read or an objective that lacks its load.
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


def _holds(level: Level) -> bool:
    """Whether every SLO held as far as one can see: proven, or steady with its statistic within its bound."""
    if level.answer is not Answer.UNCERTAIN or not level.steady:
        return level.answer is Answer.PASS
    return all(test.answer is Answer.PASS or test.violation <= 0 for test in level.tests)


def _excess(level: Level, slos: Sequence[Slo]) -> float:
    """How far the worst SLO's share of exceedances is over the allowed one, in log odds: 0 at the capacity."""
    allowed = {str(slo): slo.allowed_share for slo in slos}
    return max((_odds(test, allowed[test.slo]) for test in level.tests), default=0.0)


def _odds(test: SloTest, allowed: float | None) -> float:
    if not allowed:
        return test.violation
    # Half an observation on either side: none of 60 is not none at all.
    observed = (test.exceeding + 0.5) / (test.count - test.exceeding + 0.5)
    return math.log(observed * (1 - allowed) / allowed)


def _far_below(level: Level) -> bool:
    """Whether every statistic is so far under its bound that the level says little about where the capacity is."""
    return all(test.violation < _FAR for test in level.tests)


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


def _mostly_exceeded(level: Level) -> bool:
    return any(test.exceeding > test.count / 2 for test in level.tests)


@dataclass
class _Search:
    """The search for the rate at which the SLOs cease to hold: gallop until it lies between two levels, then bisect.

    Its way is found by statistics (`_holds`), because what is merely not proven says nothing against a rate; what it
    found has a value only where some level PASSed.
    """

    session: Session
    job: Job
    under: float | None = None  # the highest rate that held
    over: float | None = None  # the lowest rate that did not
    idle: Level | None = None

    async def run(self) -> Measurement:
        if self.job.incumbent_rate is not None and not self.job.full:
            if not _holds(await self._try(self.job.incumbent_rate)):
                return self._measurement(censored_at=self.job.incumbent_rate)
            await self._gallop(_STEP)
        else:
            known = self.job.start_rate or self.job.incumbent_rate or self.job.objective.rate
            await self._try(known or await self._guess())
            await self._gallop(_SMALL_STEP if known else _STEP)
        await self._bisect()
        await self._prove()
        await self._bisect()  # where that had left the time for the proof
        return self._measurement()

    async def _try(self, rate: float, proof: bool = False) -> Level:
        level = await self.session.level(Load(rate=rate), self.job.slos, proof=proof)
        if _holds(level):
            self.under = max(rate, self.under or rate)
        else:
            self.over = min(rate, self.over or rate)
        return level

    async def _guess(self) -> float:
        """A rate to begin with: a share of what a short closed loop of many clients reaches."""
        load = Load(concurrency=_GUESS_CONCURRENCY)
        max_s = max(_GUESS_S, 3 * self.session.e2e_s)
        level = await self.session.level(load, (), most=_GUESS_REQUESTS, max_s=max_s)
        return _GUESS_SHARE * (level.request_rate or 1 / self.session.e2e_s)

    async def _gallop(self, step: float) -> None:
        """Go up from a rate that holds or down from one that does not until both are known, with growing steps."""
        steps, guessed = 0, self.job.incumbent_rate is None
        while (self.under is None or self.over is None) and self._leaves_room(_PROOFS if self.under is None else 1):
            if steps >= _STEADY_STEPS:
                step = min(step * step, _MOST_STEP)
            if self.under is None and steps == 1:
                await self._look_idle()
                if self._hopeless:
                    return
            if self.under is not None:
                rate = self.under * step
                if not guessed and _far_below(self.session.levels[-1]):
                    guessed = True
                    rate = max(rate, await self._guess())
                await self._try(rate)
            else:
                assert self.over is not None
                await self._try(self.over / step)
            steps += 1

    async def _look_idle(self) -> None:
        """See how the engine keeps the SLOs with one request at a time, where it is far from keeping them."""
        if any(_mostly_exceeded(level) for level in self.session.levels):
            self.idle = await self.session.level(Load(concurrency=1), self.job.slos, most=_IDLE_REQUESTS)

    @property
    def _hopeless(self) -> bool:
        """Whether the SLOs fail for one request at a time: then no rate will do."""
        return self.idle is not None and self.idle.answer is Answer.FAIL

    async def _bisect(self) -> None:
        """Halve the bracket (in ratio) until its half width is below the noise between starts."""
        while self.under is not None and self.over is not None and self._leaves_room():
            if self.over / self.under - 1 <= 2 * self.job.restart_cv:
                return
            await self._try(math.sqrt(self.under * self.over))

    def _leaves_room(self, proofs: int = _PROOFS) -> bool:
        """Whether there is time for a further level, and for as many attempts at a proof where that is still to come.

        A level that is cut short leaves an engine that has not shown what it can do.
        """
        reached = self.under or self.over
        if self.session.exhausted or reached is None:
            return False
        proof_s = 0.0 if self._proven() else self.session.level_s(reached * self._proof_step(), proof=True)
        return self.session.left_s > self.session.level_s(reached) + proofs * proof_s

    async def _prove(self) -> None:
        """Go down until a longer level has PASSed, where none has yet: without a proof there is no value."""
        rate, step = self._crossing() or self.over, self._proof_step()
        while rate is not None and self._proven() is None and not (self._hopeless or self.session.exhausted):
            last = self.session.left_s < _PROOFS * self.session.level_s(rate * step, proof=True)
            rate *= min(step, _PROOF_STEPS[0]) if last else step  # the last chance is not taken where it is close
            step *= step
            await self._try(rate, proof=True)

    def _proof_step(self) -> float:
        """By which factor a rate must fall for a share of exceedances that a level can prove, as the levels show."""
        rates = [math.log(rate) for rate, _ in self._rated()]
        if len(set(rates)) < 2:
            return _PROOF_STEPS[0]
        slope = float(np.polyfit(rates, [_excess(level, self.job.slos) for _, level in self._rated()], 1)[0])
        return _clamp(math.exp(-_PROVABLE / slope) if slope > 0 else 0.0, *_PROOF_STEPS)

    def _proven(self) -> float | None:
        return max((rate for rate, level in self._rated() if level.answer is Answer.PASS), default=None)

    def _estimate(self) -> float | None:
        """The capacity; None where nothing was proven. What was proven is never more than it."""
        proven, crossing = self._proven(), self._crossing()
        return None if proven is None or crossing is None else max(proven, crossing)

    def _crossing(self) -> float | None:
        """Where the SLOs cease to hold, by a line through the log odds of both ends of the bracket."""
        if self.under is None or self.over is None:
            return self.under
        low, high = (_excess(self._at(rate), self.job.slos) for rate in (self.under, self.over))
        # Where the engine fell behind, the promises may have held for as long as the level lasted.
        part = min(1.0, max(0.0, -low / (high - low))) if high > max(0.0, low) else 0.5
        return float(self.under * (self.over / self.under) ** part)

    def _at(self, rate: float) -> Level:
        return next(level for one, level in self._rated() if one == rate)

    def _rated(self) -> list[tuple[float, Level]]:
        return [
            (level.load.rate, level)
            for level in self.session.levels
            if level.load.rate is not None and not (level.saturated or level.foreign)
        ]

    def _measurement(self, censored_at: float | None = None) -> Measurement:
        rate = self._estimate()
        return Measurement(
            tuple(self.session.levels),
            None if rate is None else self._value(self._served(rate)),
            self.session.levels.index(self._deciding()),
            None if censored_at is None else self._value(censored_at),
        )

    def _deciding(self) -> Level:
        """The passed level of the highest rate; without one, the level nearest to passing."""
        rated = sorted(self._rated(), key=lambda one: one[0])
        passed = [level for _, level in rated if level.answer is Answer.PASS]
        if passed:
            return passed[-1]
        if self._hopeless:
            assert self.idle is not None
            return self.idle
        return rated[0][1]

    def _served(self, rate: float) -> float:
        """What the engine serves of this rate: without what fails, and no more than it served where it fell behind.

        A promise may be so lax that it holds for as long as a level lasts while the queue grows.
        """
        behind = min(((one, level.overload) for one, level in self._rated() if level.overload), default=(rate, 0.0))
        served = min(rate, behind[0] / (1 + behind[1]))
        nearest = min(self._rated(), key=lambda rated: abs(math.log(rated[0] / rate)))[1]
        return served * nearest.work_share

    def _value(self, rate: float) -> float:
        """What the objective counts at this rate, by what the workload's requests are, not by those that it met."""
        match self.job.objective.count:
            case Count.REQUESTS:
                return rate
            case Count.OUTPUT_TOKENS:
                return rate * self.session.requests.mean_output_tokens
            case Count.TOTAL_TOKENS:
                return rate * (self.session.requests.mean_output_tokens + self._prompt_tokens())

    def _prompt_tokens(self) -> float:
        """Prompt tokens of a request, by all levels."""
        served = [level for _, level in self._rated() if level.request_rate > 0]
        if not served:
            return 0.0
        tokens = [(level.total_token_rate - level.output_token_rate) / level.request_rate for level in served]
        return float(np.average(tokens, weights=[level.request_rate * level.duration_s for level in served]))
