"""One level: how long it may be, when it is certain, and what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from tuner.core.measurement import Answer, Level, SloTest, WarmupRule, Window
from tuner.core.request import LevelPlan, LevelRecords, PlannedRequest, RequestRecord
from tuner.core.slo import Metric, Slo
from tuner.core.workload import Load
from tuner.probe.client.serverside import view_of
from tuner.probe.job import Limits
from tuner.probe.verdict.answers import STRICTEST, Stage, answer_of, hopeless, interval_of
from tuner.probe.verdict.confidence import least_count, t_quantile
from tuner.probe.verdict.goodput import goodput_of
from tuner.probe.verdict.observations import Observations, cohort, observe
from tuner.probe.verdict.overload import overload_of
from tuner.probe.verdict.spending import ON_PASS, Look, Spending, looks_of
from tuner.probe.verdict.statistics import (
    Rates,
    errors_of,
    latencies,
    measured,
    quantiles_of,
    rates_of,
    samples_of,
    statistics_of,
    work_share,
)
from tuner.probe.verdict.steadiness import LATENCIES, Steadiness, steadiness_of
from tuner.probe.verdict.timeline import timeline_of

# Enough requests to tell a p95 from its bound near the boundary: 20 expected exceedances.
_EXPECTED_EXCEEDANCES = 20
_LEAST_REQUESTS = 60
_COMMON_REQUESTS = 200
# More requests than that bring little certainty for their time.
_ENOUGH_REQUESTS = 2000
# Before an engine is known to be steady: what refutes a promise needs no full engine.
_LEAST_WARMUP, _MOST_WARMUP = 5, 100
_LEAST_TIMEOUT_S = 30.0
# A full batch takes up to this many times as long as a few requests.
_SLOWDOWN = 20
_LONG_SHARE = 1 / 6  # of all time for levels, for one that is not steady before, or a proof
_MOST_SHARE = 0.8  # for clients that wait for their answers, who need one level
# The probe's own delay bends a result where it is this share of what is measured; a throughput only where it is
# noticeable too.
_LAG_SHARE = 0.05
_LAG_S = 0.005
_PROOF = 3


@dataclass(frozen=True)
class Size:
    """How much one level sends: `warmup` requests first, then `count` measured ones; `most` until it is steady.

    It ends after `max_s`, and at a look after `enough_s` where so many count as can pass (`least`).
    """

    warmup: int
    count: int
    timeout_s: float
    max_s: float
    least: int = 0  # with fewer measured requests no level can pass
    most: int = 0
    enough_s: float = math.inf

    @property
    def requests(self) -> int:
        """All requests that may be sent."""
        return max(self.most, self.warmup + self.count)


def size_of(
    load: Load, slos: Sequence[Slo], limits: Limits, e2e_s: float, *, most_tokens: int = 0, proof: bool = False
) -> Size:
    """Size a level for certain answers within the limits; `e2e_s` is the e2e latency, roughly.

    An open loop sends for at most `limits.level_s` (a `proof` for longer, so that it can pass in spite of some
    exceedances), but goes on to a share of `limits.total_s` where the engine is not steady before. A closed loop goes
    on for most of it where fewer requests than can pass have ended. No request times out that keeps the SLOs, also not
    the longest one, of `most_tokens` output tokens.
    """
    rate = load.rate or (load.concurrency or 1) / e2e_s
    least = max((_least(slo, rate) for slo in slos), default=_LEAST_REQUESTS)
    wanted = max([least, *(_wanted(slo) for slo in slos)]) if slos else _COMMON_REQUESTS
    latency = max([e2e_s, *(slo.bound for slo in slos if slo.metric in (Metric.TTFT, Metric.E2E))])
    decoding = max((slo.bound for slo in slos if slo.metric in (Metric.ITL, Metric.TPOT)), default=0.0) * most_tokens
    longest_s = max(limits.level_s, _LONG_SHARE * limits.total_s)
    timeout_s = max(_LEAST_TIMEOUT_S, 4 * latency, latency + decoding, min(_SLOWDOWN * e2e_s, longest_s))
    if load.rate is not None:
        within = int(load.rate * limits.level_s)
        # Queues and batches take their time to build up, so what is near the boundary lasts, however many arrive.
        count = max(least, min(_ENOUGH_REQUESTS, within))
        if proof:  # nothing is spent before the end
            affordable = int(load.rate * _LONG_SHARE * limits.total_s)
            count = least = max(count, min(_PROOF * least, _ENOUGH_REQUESTS, affordable))
        warmup = _clamp(math.ceil(load.rate * e2e_s), _LEAST_WARMUP, _MOST_WARMUP)
        # Arrivals are Poisson; all that were sent may end or time out, because one that is cut off says nothing, and
        # the cohort without the slow ones is far smaller.
        most = max(warmup + count, math.ceil(load.rate * min(longest_s, _SLOWDOWN * LATENCIES * e2e_s)))
        sending_s = (most + 3 * math.sqrt(most)) / load.rate
        return Size(warmup, count, timeout_s, sending_s + timeout_s, least, most)
    assert load.concurrency is not None
    count = max(least, min(max(wanted, 10 * load.concurrency), _ENOUGH_REQUESTS))
    warmup = max(_LEAST_WARMUP, load.concurrency)
    enough_s = max(limits.level_s, 10 * e2e_s)
    max_s = max(enough_s, _MOST_SHARE * limits.total_s) if slos else enough_s
    return Size(warmup, count, timeout_s, max_s, least, enough_s=enough_s)


def _least(slo: Slo, rate: float) -> int:
    """Fewer measured requests could never pass."""
    share = slo.allowed_share
    if share is None or share < STRICTEST:
        return _LEAST_REQUESTS
    count = least_count(share, ON_PASS / 2)
    if slo.metric is Metric.ITL:
        # Streams that run together meet the same engine steps, so steps are what counts; each takes at most the bound.
        count = min(math.ceil(rate * slo.bound * count), _ENOUGH_REQUESTS)
    return max(_LEAST_REQUESTS, count)


def _wanted(slo: Slo) -> int:
    share = slo.allowed_share
    if share is None or share < STRICTEST or slo.metric is Metric.ITL:
        return _COMMON_REQUESTS
    return max(_COMMON_REQUESTS // 2, round(_EXPECTED_EXCEEDANCES / share))


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


@dataclass
class LevelTest:
    """Watches one level: decides at each planned look whether it goes on, and says at the end what it came to.

    `precision` makes a level go on, though its SLOs are certain, until its throughput is known to that relative half
    width of a 95 % interval (0: until every planned request has ended; None: certain SLOs are enough).
    """

    load: Load
    slos: tuple[Slo, ...]
    requests: tuple[PlannedRequest, ...]
    size: Size
    precision: float | None = None
    spending: Spending = field(default_factory=Spending)
    dispersion: float = 1.0  # of the open loop's arrivals
    _tests: tuple[SloTest, ...] = ()
    _observed: tuple[tuple[Slo, Observations], ...] = ()
    _at: Stage = field(default_factory=lambda: Stage(0.0, 0.0))
    _warmup: int = 0
    _steady: bool = False
    _counted: tuple[RequestRecord, ...] = ()  # at the newest look, some of them unfinished
    _overload: float = 0.0
    _stopped: bool = False

    def plan(self) -> LevelPlan:
        """What the driver is asked to do."""
        looks = looks_of(self.size.warmup, self.size.count, self.size.requests)
        return LevelPlan(self.load, self.requests, looks, self.size.timeout_s, self.size.max_s)

    def stop(self, records: Sequence[RequestRecord]) -> bool:
        """Whether the level may end at this look."""
        self._stopped = self._look(records) or self._answer is Answer.FAIL or self._certain(records)
        late = max((record.end_s for record in records), default=0.0) > self.size.enough_s
        return self._stopped or (late and len(self._counted) >= self.size.least)  # then the last look is at its end

    def level(self, found: LevelRecords) -> Level:
        """The level as measured."""
        if not self._stopped:
            self._look(found.records, last=True, told=len(found.records) >= found.sent)
        counted, after_warmup = self._counted, measured(found.records, self._warmup)
        rates = rates_of(found.records, self._warmup)
        samples = samples_of(counted)
        return Level(
            load=self.load,
            answer=self._answer,
            tests=self._with_intervals(),
            duration_s=found.duration_s,
            requests=len(counted),
            errors=errors_of(after_warmup),
            request_rate=rates.requests,
            output_token_rate=rates.output_tokens,
            total_token_rate=rates.total_tokens,
            statistics=statistics_of(samples),
            saturated=self._bent(found),
            foreign=None if found.foreign is None else found.foreign > 0,
            preemptions=found.preemptions,
            overload=self._overload,
            steady=self._steady,
            goodput=goodput_of(self.slos, rates),
            quantiles=quantiles_of(samples),
            window=self._window(found, after_warmup, rates),
            timeline=timeline_of(found),
            server=view_of(found.server) if found.server is not None else None,
            lag_p99_s=found.lag_p99_s,
            work_share=work_share(counted),
        )

    def _with_intervals(self) -> tuple[SloTest, ...]:
        intervals = [interval_of(slo, seen, self._at) for slo, seen in self._observed]
        return tuple(
            replace(test, observed_low=low, observed_high=high)
            for test, (low, high) in zip(self._tests, intervals, strict=True)
        )

    def _window(self, found: LevelRecords, after_warmup: Sequence[RequestRecord], rates: Rates) -> Window:
        """Which part of the level counts."""
        counted = {record.planned.index for record in self._counted}
        return Window(
            WarmupRule.UNTIL_FULL if self._warmup > self.size.warmup else WarmupRule.PLANNED,
            len(found.records) - len(after_warmup),
            min((record.scheduled_s for record in after_warmup), default=found.duration_s),
            rates.begin_s,
            rates.begin_s + rates.window_s,
            rates.before,
            rates.after,
            rates.whole,
            sum(record.planned.index not in counted for record in after_warmup),
        )

    def _bent(self, found: LevelRecords) -> bool:
        """Whether the probe's own delay can have changed what the level says.

        Delays only ever lengthen latencies: what passed in spite of them has passed. What did not pass may be the
        probe's fault where something exceeded a bound, and the statistic would be within it without the delay. A closed
        loop's throughput is clients / e2e.
        """
        if any(self._bent_test(slo, test, found) for slo, test in zip(self.slos, self._tests, strict=True)):
            return True
        if self.load.concurrency is None and self.slos:
            return False
        e2e = latencies(Metric.E2E, self._counted)
        return found.lag_p99_s > _LAG_S and (len(e2e) == 0 or found.lag_p99_s > _LAG_SHARE * float(np.median(e2e)))

    def _bent_test(self, slo: Slo, test: SloTest, found: LevelRecords) -> bool:
        # Between two tokens it does not matter when the request was sent.
        gaps = slo.metric in (Metric.ITL, Metric.TPOT)
        lag_s = found.read_lag_p99_s if gaps else max(found.lag_p99_s, found.read_lag_p99_s)
        if slo.metric is Metric.ERROR_RATE or lag_s <= _LAG_SHARE * slo.bound:
            return False
        late = test.observed is not None and test.observed - lag_s <= slo.bound
        return late and test.answer is not Answer.PASS and test.exceeding > 0

    @property
    def _answer(self) -> Answer:
        answers = {test.answer for test in self._tests}
        if Answer.FAIL in answers or self._overload:
            return Answer.FAIL
        return Answer.UNCERTAIN if Answer.UNCERTAIN in answers or not self._steady else Answer.PASS

    def _look(self, records: Sequence[RequestRecord], last: bool = False, told: bool = False) -> bool:
        """Test the SLOs on what is known so far; whether nothing more is to come of it.

        They can pass by what a steady engine did only. Until it is steady, what it did since the planned warm-up can
        refute them: an engine that fills is quicker than a full one.
        """
        known = cohort(self.requests, records, told=told)
        steadiness = self._steadiness(records)
        seen = measured(known, steadiness.warmup)
        spans = len(seen) >= steadiness.least
        self._steady = spans and not steadiness.overload
        self._warmup = steadiness.warmup if self._steady else self.size.warmup
        if not self._steady:
            seen = measured(known, self._warmup)
        self._overload = overload_of(seen) if self.load.rate is not None else 0.0
        if last and spans:
            self._overload = max(self._overload, steadiness.overload)
        lasting = self.size.warmup + self.size.count - steadiness.warmup  # what the engine took to fill is not measured
        share = 1.0 if last else min(1.0, len(seen) / max(self.size.least, steadiness.least, lasting, 1))
        complete = self._steady and share == 1.0
        may_pass = self._steady and (last or len(seen) >= self.size.least)
        self._counted = seen
        stage = self._at = self._stage(seen, self.spending.look(share, may_pass=may_pass))
        observed = self._observed = tuple((slo, observe(slo, seen, self.size.timeout_s)) for slo in self.slos)
        self._tests = tuple(answer_of(slo, found, stage) for slo, found in observed)
        return complete or any(hopeless(slo, found) for slo, found in observed)

    def _steadiness(self, records: Sequence[RequestRecord]) -> Steadiness:
        """How steady an open loop is; clients that wait for each other can't outrun the engine."""
        if self.load.rate is None:
            return Steadiness(self.size.warmup)
        found = steadiness_of(self.requests, records, self.dispersion)
        return replace(found, warmup=max(found.warmup, self.size.warmup))

    def _certain(self, records: Sequence[RequestRecord]) -> bool:
        if self._answer is Answer.UNCERTAIN or self.precision == 0 or not (self.slos or self.precision):
            return False
        return self.precision is None or self._half_width(records) <= self.precision

    def _half_width(self, records: Sequence[RequestRecord]) -> float:
        """Relative half width of the 95 % interval of the request rate, by ten batches of completions in time."""
        ends = [record.end_s for record in rates_of(records, self._warmup).completions]
        if len(ends) < 100:
            return math.inf
        step = len(ends) // 10
        times = [ends[i * step] for i in range(10)] + [ends[10 * step - 1]]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        mean = sum(gaps) / 10
        variance = sum((gap - mean) ** 2 for gap in gaps) / 9
        return t_quantile(0.975, 9) * math.sqrt(variance / 10) / mean if mean > 0 else math.inf

    def _stage(self, seen: Sequence[RequestRecord], look: Look) -> Stage:
        busy = sum(record.end_s - record.sent_s for record in seen)
        span = max((r.end_s for r in seen), default=0.0) - min((r.sent_s for r in seen), default=0.0)
        return Stage(
            look.pass_alpha,
            look.fail_alpha,
            concurrency=busy / span if span > 0 else 1.0,
            closed=self.load.concurrency is not None,
        )
