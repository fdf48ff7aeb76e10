"""When requests are sent. A new arrival process is one small type here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tuner.core.workload import Load


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
    """An open loop at `rate` requests/s with exponential gaps, conditioned on `n` arrivals in exactly n / rate seconds.

    Without the condition the rate of 400 arrivals would be off by 5 % (one standard deviation, 1 / sqrt(n)), which is
    more than the differences that are looked for. Equal generators give equal patterns at every rate, only scaled.
    """

    rate: float

    def arrivals(self, n: int, rng: np.random.Generator) -> Sequence[float | None]:
        """Times of `n` arrivals; the first one follows a gap, and the last one is at n / rate."""
        gaps = rng.exponential(size=n)
        times: list[float | None] = (np.cumsum(gaps) * (n / gaps.sum() / self.rate)).tolist()
        return times

    def __str__(self) -> str:
        return f"Poisson at {self.rate:.4g}/s"


def arrivals_of(load: Load) -> Arrivals:
    """The arrival process of a load."""
    if load.rate is not None:
        return Poisson(load.rate)
    assert load.concurrency is not None
    return ClosedLoop(load.concurrency)
