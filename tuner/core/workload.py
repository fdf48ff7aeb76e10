"""What is sent to an engine: prompts, output lengths and how much of it at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import geometric_mean

# A statistic that is a smaller share of its bound can't be told from none.
_LEAST_USE = 1e-3


class Api(StrEnum):
    """The endpoint that requests go to."""

    COMPLETIONS = "completions"
    CHAT = "chat"


class ObjectiveKind(StrEnum):
    """What a study maximises (docs/measuring.md says when to use which)."""

    CAPACITY = "capacity"  # the highest open-loop rate at which every SLO holds
    THROUGHPUT = "throughput"  # a closed loop at a stated concurrency
    HEADROOM = "headroom"  # a fixed open-loop rate; the smallest margin to an SLO is maximised


class Count(StrEnum):
    """What throughput is counted in."""

    OUTPUT_TOKENS = "output-tokens/s"
    TOTAL_TOKENS = "total-tokens/s"
    REQUESTS = "requests/s"


@dataclass(frozen=True)
class Objective:
    """The objective of a study. Its value is always maximised, whatever the kind.

    `rate` (requests/s) is required for headroom, `concurrency` for throughput; for capacity `rate` is where the search
    for the baseline's capacity begins (None: estimated).
    """

    kind: ObjectiveKind = ObjectiveKind.CAPACITY
    count: Count = Count.OUTPUT_TOKENS
    rate: float | None = None
    concurrency: int | None = None

    def merit(self, value: float) -> float:
        """`value` on a scale of which ratios mean something. A headroom: how many times its SLO's statistic fits."""
        return 1 / max(1 - value, _LEAST_USE) if self.kind is ObjectiveKind.HEADROOM else value

    def gain(self, value: float | None, before: float | None) -> float | None:
        """How much better `value` is than `before`: 0.1 is +10 % in merit. None where there is nothing to compare."""
        if value is None or before is None or not self.merit(before):
            return None
        return self.merit(value) / self.merit(before) - 1

    def mean(self, values: Sequence[float]) -> float:
        """The value whose merit is the geometric mean of theirs: a gain lies between two of such."""
        merit = geometric_mean(map(self.merit, values))
        return 1 - 1 / merit if self.kind is ObjectiveKind.HEADROOM else merit


@dataclass(frozen=True)
class Lengths:
    """Token lengths: log-normal around `mean` with coefficient of variation `cv`; cv 0 means always `mean`."""

    mean: int
    cv: float = 0.0

    def at(self, z: float) -> int:
        """The length that lies `z` standard deviations of its logarithm above the median; at least 1."""
        variance = math.log1p(self.cv**2)
        return max(1, round(self.mean * math.exp(z * math.sqrt(variance) - variance / 2)))


@dataclass(frozen=True)
class Workload:
    """What requests look like. Either synthetic prompts of given lengths, or the prompts of a JSONL file.

    `shared_prefix` tokens are common to all requests of one of `prefix_groups` groups, at every level of a start: the
    engine has met them before, as a system prompt in production. `prompt` counts the tokens after the prefix.
    Output lengths are fixed by `ignore_eos`, so that all configurations do the same work.
    """

    prompt: Lengths = Lengths(512)
    output: Lengths = Lengths(128)
    shared_prefix: int = 0
    prefix_groups: int = 1
    prompts_file: str | None = None
    api: Api = Api.COMPLETIONS

    @property
    def real_text(self) -> bool:
        """True where prompts are the user's own: only then do speculation and output checks measure anything."""
        return self.prompts_file is not None


@dataclass(frozen=True)
class Load:
    """One level's load: an open loop at `rate` requests/s (Poisson), or a closed loop of `concurrency` clients."""

    rate: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.concurrency is None):
            raise ValueError("a load is either an open-loop rate or a closed-loop concurrency")

    def __str__(self) -> str:
        return f"{self.rate:.4g} req/s" if self.rate is not None else f"concurrency {self.concurrency}"
