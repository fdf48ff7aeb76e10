"""One request: as planned before a level, and as it went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuner.core.serverside import ServerSamples
from tuner.core.workload import Load

#: The error of a request that still ran when its level ended: it says nothing of how it would have gone on.
UNFINISHED = "unfinished"


#: One message of a chat: its role and its content.
Message = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text of `tokens` tokens that other requests may have too: those of the same `id`."""

    id: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """What will be sent. Lengths are in tokens; `text` is None where the driver needs lengths only (the simulator).

    `arrival_s` is the scheduled start in seconds after the level's start, None in a closed loop (send when a client is
    free). `messages` are those of a chat, whose contents `text` has on end; empty: `text` is its only one. `prefix` are
    the spans that the prompt begins with, within its `prompt_tokens`: as far as two requests begin with the same spans,
    they begin with the same text. What follows is the request's own.

    A turn of a conversation names the turn before it: `after` is the index of a request (a lower one) that must have
    ended, in whatever way, `think_s` seconds before this one is sent. Where that is later than `arrival_s`, or than a
    client is free, it is the request's schedule; a free client of a closed loop waits for it.
    """

    index: int
    prompt_tokens: int
    output_tokens: int
    arrival_s: float | None = None
    prefix: tuple[Span, ...] = ()
    text: str | None = None
    after: int | None = None
    think_s: float = 0.0
    messages: tuple[Message, ...] = ()

    @property
    def prefix_tokens(self) -> int:
        """Tokens that others may have computed before."""
        return min(self.prompt_tokens, sum(span.tokens for span in self.prefix))


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """How one request went. All times are in seconds since the level's start, by one monotonic clock.

    `scheduled_s` is when it should have been sent: open-loop latencies count from here. `token_s` holds the arrival of
    each streamed event that carried tokens, `event_tokens` how many tokens each carried. `error` is None only if the
    stream ended properly and brought all `planned.output_tokens` tokens.
    """

    planned: PlannedRequest
    scheduled_s: float
    sent_s: float
    end_s: float
    token_s: tuple[float, ...] = ()
    event_tokens: tuple[int, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the request did all its work."""
        return self.error is None

    @property
    def ttft_s(self) -> float | None:
        """Time to first token, from the scheduled time."""
        return self.token_s[0] - self.scheduled_s if self.token_s else None

    @property
    def e2e_s(self) -> float:
        """End-to-end latency, from the scheduled time to the last token (or the failure)."""
        return (self.token_s[-1] if self.ok and self.token_s else self.end_s) - self.scheduled_s

    @property
    def itl_s(self) -> tuple[float, ...]:
        """Inter-token latencies: gaps between events, one per event after the first."""
        return tuple(b - a for a, b in zip(self.token_s, self.token_s[1:], strict=False))

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first: (e2e - ttft) / (output tokens - 1); None for fewer than 2 tokens."""
        if not self.ok or self.output_tokens < 2:
            return None
        return (self.token_s[-1] - self.token_s[0]) / (self.output_tokens - 1)


@dataclass(frozen=True)
class LevelPlan:
    """One load held until its answer is certain.

    `requests` are all that may be sent, in order; the level ends early when the driver is told so. The driver asks at
    the counts of *finished* requests in `looks` (ascending; planned beforehand, because every look costs certainty).
    `timeout_s` bounds one request: past it the request is an error. `max_s` bounds the level as a whole: requests still
    running then are errors (UNFINISHED), planned ones not yet sent are left out.
    """

    load: Load
    requests: tuple[PlannedRequest, ...]
    looks: tuple[int, ...]
    timeout_s: float
    max_s: float


@dataclass(frozen=True)
class LevelRecords:
    """What a driver saw in one level: finished (or failed) requests in the order of their planned index.

    The driver's own delays (0 for the simulator): `lag_p99_s` in sending (in a closed loop: in anything), and
    `read_lag_p99_s` in noting when bytes arrived (0 where the kernel notes it). `foreign` is how many other requests
    the engine served meanwhile, by its own counter (None where it shows none). `cancelled` are the requests that ran
    when `stop` ended the level: they are part of its timeline, and of nothing else. `server` is what the engine showed
    of itself (None where it shows nothing).
    """

    records: tuple[RequestRecord, ...]
    duration_s: float
    sent: int
    lag_p99_s: float = 0.0
    foreign: int | None = None
    preemptions: int | None = None
    cancelled: tuple[RequestRecord, ...] = ()
    read_lag_p99_s: float = 0.0
    server: ServerSamples | None = None


@dataclass(frozen=True)
class GreedyOutput:
    """What an engine wrote for one fixed prompt at temperature 0: its tokens, and the first one's log-probability."""

    tokens: tuple[str, ...]
    first_logprob: float


class Driver(Protocol):
    """Sends the requests of a level to one running engine: a real one over HTTP, the simulator in memory."""

    #: Whether PlannedRequest.text must be filled in.
    needs_text: bool

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        """Run one level and return once the engine is drained again (nothing running or waiting).

        `stop` is called at each look (in any thread) with the records so far and ends the level by returning True;
        requests in flight are then cancelled and not recorded. Raises TrialFailed when the engine stopped serving
        (cause crash-under-load, refined later by the target), and never raises for single failed requests.
        """
        ...

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        """Greedy completions of fixed prompts, one at a time: the material of the output check."""
        ...

    async def close(self) -> None:
        """Release connections and processes."""
        ...
