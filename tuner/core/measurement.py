"""What was measured: statistics of a level, levels of a measurement, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tuner.core.cause import Failure
from tuner.core.serverside import ServerView
from tuner.core.workload import Load

#: The percentiles at which a level keeps each latency's distribution.
QUANTILES: tuple[float, ...] = (*(float(percent) for percent in range(100)), 99.5, 99.9, 100.0)


class Answer(StrEnum):
    """The outcome of a statistical test of one SLO, or of a level (the worst of its SLOs')."""

    PASS = "pass"
    FAIL = "fail"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Statistic:
    """One metric's distribution over a level, in seconds. `count` is the number of observations."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class SloTest:
    """One SLO's test on one level.

    `observed` is the statistic (seconds, or a share for the error rate; None: no evidence). `exceeding` of `count`
    observations were over the bound; [`low`, `high`] are the one-sided 95 % bounds of the tested quantity: the
    exceedance share, or the mean where the SLO bounds a mean. `violation` is signed and relative:
    (observed - bound) / bound; positive means violated; missing evidence is +1.

    [`observed_low`, `observed_high`] is the 95 % interval of `observed`, in its unit; None on a side that the level was
    too short to bound.
    """

    slo: str
    answer: Answer
    observed: float | None
    violation: float
    exceeding: int = 0
    count: int = 0
    low: float | None = None
    high: float | None = None
    observed_low: float | None = None
    observed_high: float | None = None


@dataclass(frozen=True)
class Goodput:
    """The requests that kept every SLO, each taken as a bound on the request itself; per second of the window."""

    requests: int
    request_rate: float
    output_token_rate: float


class WarmupRule(StrEnum):
    """How long a level's warm-up is: as many requests as were planned, or all that were due before it was full."""

    PLANNED = "planned"
    UNTIL_FULL = "until full"


@dataclass(frozen=True)
class Window:
    """Which part of a level counts, in seconds since its start.

    Latencies and SLO tests leave out the first `warmup_requests`, that is, those due before `measured_from_s`, and
    where a level was ended while requests ran, the `late_requests` that were due so late that others beside them still
    ran: to count the quick ones of these alone would flatter the engine. Rates count what ended after
    `begin_s` and until `end_s`: `warmup_ended` requests had ended before (the engine was filling), and `cooldown_ended`
    ended after (nothing was sent any more). `whole`: there was no such window, and the rates are those of the whole
    level.
    """

    rule: WarmupRule
    warmup_requests: int
    measured_from_s: float
    begin_s: float
    end_s: float
    warmup_ended: int
    cooldown_ended: int
    whole: bool = False
    late_requests: int = 0


@dataclass(frozen=True)
class Timeline:
    """A level in equal bins of `bin_s` seconds since its start, warm-up and all.

    By bin: requests sent, ended with all their work done, failed; output tokens that arrived; the mean number of
    requests in flight (sent and not ended); and the median TTFT of the requests that were due in it and got a token,
    None where there were none. What the server showed of itself is the mean of the samples that fell into a bin, None
    where none did; the series are empty where it showed nothing.
    """

    bin_s: float
    sent: tuple[int, ...]
    ended: tuple[int, ...]
    failed: tuple[int, ...]
    output_tokens: tuple[int, ...]
    in_flight: tuple[float, ...]
    server_running: tuple[float | None, ...] = ()
    server_waiting: tuple[float | None, ...] = ()
    kv_usage: tuple[float | None, ...] = ()
    ttft_s: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Level:
    """One load, held until its verdict was certain. Rates are per second of the measured window.

    `quantiles` are each latency's distribution, at QUANTILES. `itl_per_token` is among the metrics only where events
    carried several tokens: else it is `itl`. What a record stored by an earlier version lacks is empty.
    """

    load: Load
    answer: Answer
    tests: tuple[SloTest, ...]
    duration_s: float
    requests: int  # that count: `window` says which do not
    errors: Mapping[str, int]  # of all but the warm-up
    request_rate: float
    output_token_rate: float
    total_token_rate: float
    statistics: Mapping[str, Statistic]  # by metric: ttft, itl, itl_per_token, tpot, e2e; of what did all its work
    saturated: bool = False  # the probe, not the engine, was the bottleneck: void
    foreign: bool | None = False  # the engine served others' requests too: void; None: it does not tell
    preemptions: int | None = None
    overload: float = 0.0  # where the engine fell behind an open loop: offered / served - 1, at least
    steady: bool = True  # False: an open loop that ended while the engine was still filling, or fell behind
    goodput: Goodput | None = None  # None: there was no SLO to keep
    quantiles: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by metric, in seconds
    window: Window | None = None
    timeline: Timeline | None = None
    server: ServerView | None = None  # None: the engine showed nothing of itself
    lag_p99_s: float = 0.0  # how late the probe sent (in a closed loop: did anything)
    work_share: float = 1.0  # that did all their work, of the requests that count and whose end was seen


@dataclass(frozen=True)
class Measurement:
    """All levels of one start, and what they add up to.

    `value` is the objective's value (always: higher is better); None where no level passed. A capacity is estimated
    from the levels around it, for comparing; what was proven is the load of the deciding level, never more than it.
    `value_high` is set where the search for the capacity was cut short because the candidate is below the incumbent:
    the true value lies between `value` (or 0) and `value_high` (a censored observation).
    `deciding` is the index of the level whose statistics speak for the measurement.
    """

    levels: tuple[Level, ...]
    value: float | None
    deciding: int
    value_high: float | None = None

    @property
    def level(self) -> Level:
        """The level that speaks for the measurement."""
        return self.levels[self.deciding]

    @property
    def probe_s(self) -> float:
        """Seconds spent under load."""
        return sum(level.duration_s for level in self.levels)


@dataclass(frozen=True)
class Verdict:
    """What a trial taught: the only thing by which trials are compared (see `rank`).

    Exactly one of three shapes: feasible (`value`, every violation <= 0), infeasible (every SLO has a violation, some
    > 0), failed (`failure`, one graded violation > 0 under the key "failure").
    """

    value: float | None
    violations: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    certain: bool = True  # False: usable for learning, not exportable

    @property
    def feasible(self) -> bool:
        """Whether it has a value and breaks nothing."""
        return self.failure is None and self.value is not None and all(v <= 0 for v in self.violations.values())

    @property
    def total_violation(self) -> float:
        """Sum of the positive violations: what TPE ranks infeasible trials by, so the judge does too."""
        return sum(v for v in self.violations.values() if v > 0)

    @property
    def rank(self) -> tuple[int, float]:
        """Higher is better: feasible by value, then everything else by least total violation."""
        if self.feasible:
            assert self.value is not None
            return (1, self.value)
        return (0, -self.total_violation)
