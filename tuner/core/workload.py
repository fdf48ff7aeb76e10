"""What is sent to an engine: prompts, output lengths and how much of it at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import geometric_mean

# A statistic that is a smaller share of its bound can't be told from none.
_LEAST_USE = 1e-3
# People read ten tokens a second, about; an engine that writes faster keeps nobody waiting.
_READING_S = 0.1


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


class Arrival(StrEnum):
    """How the requests of an open loop are spread in time, whatever their rate (`probe.arrivals` has the processes)."""

    POISSON = "poisson"
    CONSTANT = "constant"
    GAMMA = "gamma"
    TRACE = "trace"


class Part(StrEnum):
    """Which of a file's prompts are sent."""

    ALL = "all"
    SEARCH = "search"
    HELD_OUT = "held-out"


class Shape(StrEnum):
    """How lengths are distributed around their mean."""

    LOG_NORMAL = "log-normal"
    NORMAL = "normal"


@dataclass(frozen=True)
class Lengths:
    """Token lengths: distributed around `mean` with coefficient of variation `cv`; cv 0 means always `mean`."""

    mean: int
    cv: float = 0.0
    shape: Shape = Shape.LOG_NORMAL

    def at(self, z: float) -> int:
        """The length that `z`, drawn from a standard normal distribution, stands for; at least 1."""
        if self.shape is Shape.NORMAL:
            return max(1, round(self.mean * (1 + z * self.cv)))
        variance = math.log1p(self.cv**2)
        return max(1, round(self.mean * math.exp(z * math.sqrt(variance) - variance / 2)))


@dataclass(frozen=True)
class Pair:
    """Tokens of a prompt and of its answer that belong together; `weight` says how often, relative to other pairs."""

    prompt: int
    output: int
    weight: float = 1.0


@dataclass(frozen=True)
class Workload:
    """What requests look like: synthetic prompts of given lengths, the prompts of a JSONL file, or a recorded trace.

    Synthetic lengths are drawn from `prompt` and `output`, or, where there are any, from `pairs`. `shared_prefix`
    tokens are common to all requests of one of `prefix_groups` groups, at every level of a start: the engine has met
    them before, as a system prompt in production; `prefix_share` of all requests begin with one. Prompt lengths count
    the tokens after the prefix. Output lengths are fixed by `ignore_eos`, so that all configurations do the same work.

    Of a conversation of several `turns` these are the lengths of each message and answer, and a request's prompt is all
    that was said before, too; in an open loop the next turn comes `think_s` seconds after an answer, or later
    (`probe.conversations`).

    `prompts_file` has texts of the user's own; where it is large enough, `held_out` of them belong to the part of that
    name (`probe.prompts.part_of` has the rule). `trace` has the lengths, times and shared text of recorded requests,
    without those of more than `longest` tokens in all; there `prompt` and `output` only sum up what it holds.

    `arrivals` is how an open loop spreads requests at any rate: `burstiness` is the shape of gamma-distributed gaps,
    and a trace's times may be replayed. `tokenizer` is the path of the model's tokenizer.json, to count tokens with.
    """

    prompt: Lengths = Lengths(512)
    output: Lengths = Lengths(128)
    shared_prefix: int = 0
    prefix_groups: int = 1
    prompts_file: str | None = None
    api: Api = Api.COMPLETIONS
    prefix_share: float = 1.0
    pairs: tuple[Pair, ...] = ()
    trace: str | None = None
    longest: int | None = None
    held_out: float = 0.5
    part: Part = Part.ALL
    arrivals: Arrival = Arrival.POISSON
    burstiness: float = 1.0
    tokenizer: str | None = None
    turns: int = 1
    think_s: float = 0.0

    def __post_init__(self) -> None:
        if self.arrivals is Arrival.TRACE and self.trace is None:
            raise ValueError("only a trace has times that can be replayed")

    @property
    def mean_prefix(self) -> float:
        """Tokens of a shared prefix that a request begins with on average."""
        return self.shared_prefix * self.prefix_share

    @property
    def mean_history(self) -> float:
        """Tokens of what was said before in a conversation, on average over its turns."""
        return (self.turns - 1) / 2 * (self.prompt.mean + self.output.mean)

    def conversations(self, load: Load) -> int:
        """How many conversations of several turns are open at a load: one for each client of a closed loop.

        In an open loop as many as it takes for a next turn to come once an answer was read and thought about.
        """
        if load.rate is None:
            return load.concurrency or 1
        return max(1, math.ceil(load.rate * (self.think_s + _READING_S * self.output.mean)))

    @property
    def real_text(self) -> bool:
        """True where prompts are the user's own: only then do speculation and output checks measure anything."""
        return self.prompts_file is not None


@dataclass(frozen=True)
class Load:
    """One level's load: an open loop at `rate` requests/s, or a closed loop of `concurrency` clients."""

    rate: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.concurrency is None):
            raise ValueError("a load is either an open-loop rate or a closed-loop concurrency")

    def __str__(self) -> str:
        return f"{self.rate:.4g} req/s" if self.rate is not None else f"concurrency {self.concurrency}"
