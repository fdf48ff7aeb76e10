"""When requests are sent. A new arrival process is one small type here.

Open loops are drawn once at one request a second and then stretched to their rate, so that equal generators give equal
patterns at every rate. They are conditioned on `n` arrivals in exactly n / rate seconds: without that the rate of 400
Poisson arrivals would be off by 5 % (one standard deviation, 1 / sqrt(n)), which is more than the differences that are
looked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.core.workload import Arrival, Load, Workload

Gaps = NDArray[np.float64]


class Arrivals(Protocol):
    """A process that says when requests are sent."""

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:
        """Scheduled starts of `n` requests, ascending, in seconds after the level's start; None: by a free client."""
        ...


@dataclass(frozen=True)
class ClosedLoop:
    """`concurrency` clients, each of which sends its next request when its last one has ended."""

    concurrency: int

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:  # noqa: ARG002
        """No schedule: every request waits for a free client."""
        return (None,) * n

    def __str__(self) -> str:
        return f"closed loop of {self.concurrency}"


@dataclass(frozen=True)
class Poisson:
    """An open loop at `rate` requests/s with exponential gaps: callers who know nothing of each other."""

    rate: float

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:
        """Times of `n` arrivals; the first one follows a gap, and the last one is at n / rate."""
        return _times(rng.exponential(size=n), self.rate)

    def __str__(self) -> str:
        return f"Poisson at {self.rate:.4g}/s"


@dataclass(frozen=True)
class Constant:
    """An open loop at `rate` requests/s with equal gaps: the least that an engine has to bear at a rate."""

    rate: float

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:  # noqa: ARG002
        """Times of `n` arrivals, 1 / rate apart, from 1 / rate on."""
        return _times(np.ones(n), self.rate)

    def __str__(self) -> str:
        return f"constant at {self.rate:.4g}/s"


@dataclass(frozen=True)
class Gamma:
    """An open loop at `rate` requests/s with gamma-distributed gaps of shape `burstiness`, as in `vllm bench serve`.

    1 is Poisson, less is burstier (the gaps' squared coefficient of variation is 1 / burstiness), more is more even.
    """

    rate: float
    burstiness: float

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:
        """Times of `n` arrivals; the first one follows a gap, and the last one is at n / rate."""
        return _times(rng.gamma(self.burstiness, size=n), self.rate)

    def __str__(self) -> str:
        return f"gamma at {self.rate:.4g}/s (burstiness {self.burstiness:.4g})"


@dataclass(frozen=True)
class Replay:
    """An open loop at `rate` requests/s with the gaps of a recorded trace (in any unit), sped up or slowed down.

    All of them are stretched alike, so bursts stay bursts. A part of a trace in which no time passes is spread evenly.
    """

    rate: float
    gaps: tuple[float, ...]

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:  # noqa: ARG002
        """Times of the first `n` arrivals (no more than there are gaps); the last one is at n / rate."""
        gaps = np.array(self.gaps[:n])
        return _times(gaps if gaps.sum() > 0 else np.ones(len(gaps)), self.rate)

    def __str__(self) -> str:
        return f"replayed at {self.rate:.4g}/s"


@dataclass(frozen=True)
class Stage:
    """`seconds` of an open loop whose rate goes evenly from `rate` to `to` requests/s (None: it stays)."""

    seconds: float
    rate: float
    to: float | None = None

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.rate >= 0 and self.end >= 0 and self.rate + self.end > 0):
            raise ValueError(f"{self}: a stage takes time, and its rates are 0 or more but not both 0")

    @property
    def end(self) -> float:
        """The rate at its end."""
        return self.rate if self.to is None else self.to

    @property
    def requests(self) -> float:
        """How many requests arrive in it."""
        return self.seconds * (self.rate + self.end) / 2

    def when(self, requests: float) -> float:
        """Seconds after its begin until so many requests have arrived."""
        growth = (self.end - self.rate) / self.seconds
        # The root of rate * t + growth * t^2 / 2 = requests, in the form that does not cancel for a growth near 0.
        root = math.sqrt(max(0.0, self.rate**2 + 2 * growth * requests))
        return 2 * requests / (self.rate + root) if requests else 0.0

    def __str__(self) -> str:
        rates = f"{self.rate:.4g}/s" if self.to is None else f"{self.rate:.4g}/s to {self.to:.4g}/s"
        return f"{rates} for {self.seconds:.4g} s"


@dataclass(frozen=True)
class Stages:
    """Ramps and steps, one after the other: any process of rate 1 (Poisson unless told), its time bent to their rates.

    For single runs that look at an engine under changing load; a level of a study has one rate.
    """

    stages: tuple[Stage, ...]
    process: Arrivals = Poisson(1.0)

    @property
    def requests(self) -> int:
        """How many requests there are in all stages: as many are to be drawn."""
        return max(1, round(sum(stage.requests for stage in self.stages)))

    @property
    def seconds(self) -> float:
        """How long all stages take."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def rate(self) -> float:
        """Requests/s on average."""
        return sum(stage.requests for stage in self.stages) / self.seconds

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:
        """Times of `n` arrivals over all stages; the last one is at their end."""
        ends = list(accumulate(stage.requests for stage in self.stages))
        begins = list(accumulate((stage.seconds for stage in self.stages), initial=0.0))
        times = []
        for time in self.process.arrivals(n, rng):
            passed = min((time or 0.0) * ends[-1] / n, ends[-1])
            at = min(bisect_left(ends, passed), len(ends) - 1)
            before = ends[at - 1] if at else 0.0
            times.append(begins[at] + self.stages[at].when(passed - before))
        return times

    def __str__(self) -> str:
        return ", then ".join(map(str, self.stages))


def arrivals_of(load: Load, workload: Workload, gaps: Sequence[float] = ()) -> Arrivals:
    """The arrival process of a load; `gaps` are the recorded ones, where the workload replays a trace."""
    if load.rate is None:
        assert load.concurrency is not None
        return ClosedLoop(load.concurrency)
    match workload.arrivals:
        case Arrival.POISSON:
            return Poisson(load.rate)
        case Arrival.CONSTANT:
            return Constant(load.rate)
        case Arrival.GAMMA:
            return Gamma(load.rate, workload.burstiness)
        case Arrival.TRACE:
            return Replay(load.rate, tuple(gaps))


def _times(gaps: Gaps, rate: float) -> list[float | None]:
    """When arrivals with such gaps come, the last of n at n / rate."""
    times: list[float | None] = (np.cumsum(gaps) * (len(gaps) / gaps.sum() / rate)).tolist()
    return times
