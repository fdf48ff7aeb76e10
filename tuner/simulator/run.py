"""One level in virtual time: requests arrive, the scheduler steps, clients see tokens.

Steps in which nothing changes are taken together, so a level of 400 requests takes some tens of milliseconds.
"""

from __future__ import annotations

import bisect
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from tuner.core.request import UNFINISHED, LevelPlan, LevelRecords, PlannedRequest, RequestRecord
from tuner.core.serverside import ServerSample, ServerSamples
from tuner.core.workload import Load
from tuner.simulator.cost import StepCost
from tuner.simulator.scheduler import Scheduler, SimRequest, prefix_hashes
from tuner.simulator.settings import Settings

Stop = Callable[[Sequence[RequestRecord]], bool]

_LOOK_S = 1.0  # between samples of what the engine shows, as the probe takes them from a real one


class Noise:
    """Multiplies step times: `scale` for a whole level, `jitter` (a CV) per step, and rare pauses of a few steps."""

    PAUSE_CHANCE, PAUSE_STEPS = 5e-4, 8.0

    def __init__(self, seed: int = 0, scale: float = 1.0, jitter: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._scale, self._jitter = scale, jitter

    def apply(self, durations: Iterable[float]) -> list[float]:
        """Noisy durations, in seconds."""
        if not self._jitter:
            return [duration * self._scale for duration in durations]
        draw, gauss = self._random.random, self._random.gauss
        return [
            duration
            * self._scale
            * (max(0.5, gauss(1.0, self._jitter)) + (self.PAUSE_STEPS * draw() if draw() < self.PAUSE_CHANCE else 0.0))
            for duration in durations
        ]


def simulate(
    settings: Settings,
    kv_tokens: int,
    cost: StepCost,
    requests: Sequence[PlannedRequest],
    load: Load,
    *,
    seed: int = 0,
    noise: float = 0.0,
    acceptance: float = 0.0,
    max_s: float = math.inf,
) -> LevelRecords:
    """One level on a fresh engine, without looks: what planning and prediction need.

    `kv_tokens` is the planner's; `noise` the CV of step times; `acceptance` the chance that a draft is accepted.
    """
    scheduler = Scheduler(settings, kv_tokens, cost, acceptance=acceptance, seed=seed)
    plan = LevelPlan(load, tuple(requests), looks=(), timeout_s=math.inf, max_s=max_s)
    return LevelRun(scheduler, plan, noise=Noise(seed, jitter=noise)).run()


@dataclass(slots=True, eq=False)
class _Stream:
    """One request as its client sees it."""

    planned: PlannedRequest
    scheduled_s: float
    sent_s: float
    token_s: list[float] = field(default_factory=list)
    event_tokens: list[int] = field(default_factory=list)


class LevelRun:
    """Drives a scheduler through one level. The scheduler must be idle, and is idle again afterwards.

    `stop` is asked at the plan's looks. `watch` is called after each step that changed something and may raise
    TrialFailed.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        plan: LevelPlan,
        *,
        stop: Stop | None = None,
        noise: Noise | None = None,
        watch: Callable[[Scheduler], None] | None = None,
    ) -> None:
        self._scheduler, self._plan = scheduler, plan
        self._stop, self._watch = stop, watch
        self._noise = noise or Noise()
        self._now = 0.0
        self._front_end_free_s = 0.0
        self._unsent = deque(sorted(plan.requests, key=lambda request: (request.arrival_s or 0.0, request.index)))
        self._arriving: deque[tuple[float, _Stream]] = deque()  # has passed, or will pass, the front end at this time
        self._due: list[tuple[float, int, PlannedRequest]] = []  # a heap: to be sent at this time
        self._turns: dict[int, tuple[PlannedRequest, float]] = {}  # wait for the request of this index to end
        self._ended_s: dict[int, float] = {}
        self._streams: dict[int, _Stream] = {}  # sent and not ended, in the order sent
        self._records: list[RequestRecord] = []
        self._late: list[RequestRecord] = []  # ended after the level was stopped
        self._samples: list[ServerSample] = []
        self._next_look_s = _LOOK_S
        self._sent = 0
        self._stopped = False

    def run(self) -> LevelRecords:
        """Run to the end, or until told to stop. Raises TrialFailed where `watch` does."""
        counters = self._scheduler.counters
        preemptions = counters.preemptions
        before = self._shown()
        try:
            self._loop()
        finally:
            for index in self._streams:
                self._scheduler.cancel(index)
        cut_off = [_record(stream, UNFINISHED, self._now) for stream in self._streams.values()]
        self._records.sort(key=lambda record: record.planned.index)
        return LevelRecords(
            records=tuple(self._records),
            duration_s=self._now,
            sent=self._sent,
            foreign=0,
            preemptions=counters.preemptions - preemptions,
            cancelled=(*self._late, *cut_off),
            server=ServerSamples(before, tuple(self._samples), self._shown()),
        )

    def end(self) -> None:
        """End the level at its next step, from whichever thread."""
        self._stopped = True

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the level began."""
        return self._now

    def _loop(self) -> None:
        self._send_first()
        while not self._stopped and (self._streams or self._unsent or self._due):
            self._send_due()
            self._admit()
            self._expire()
            if self._stopped or not (self._streams or self._unsent or self._due):
                return
            if self._scheduler.idle:
                self._now = max(self._now, self._next_event())
                continue
            self._advance()
            if self._now >= self._next_look_s:
                self._samples.append(ServerSample(self._now, self._gauges()))
                self._next_look_s = self._now + _LOOK_S

    def _advance(self) -> None:
        stretch = self._scheduler.run_ahead(self._next_event() - self._now)
        if stretch is not None:
            ends = list(accumulate(self._noise.apply(stretch.durations), initial=self._now))[1:]
            ones = [1] * len(ends)
            for index in stretch.ids:
                stream = self._streams[index]
                stream.token_s.extend(ends)
                stream.event_tokens.extend(ones)
            self._now = ends[-1]
            return
        outcome = self._scheduler.step()
        self._now += self._noise.apply([outcome.duration_s])[0]
        for index, count in outcome.tokens:
            stream = self._streams[index]
            stream.token_s.append(self._now)
            stream.event_tokens.append(count)
        if self._watch is not None:
            self._watch(self._scheduler)
        self._expire()
        for index in outcome.finished:
            if index in self._streams:
                self._end(self._streams[index], None)

    def _next_event(self) -> float:
        """When the scheduler must be looked after again: an arrival, a client's timeout, or the end of the level."""
        times = [self._plan.max_s]
        if self._arriving:
            times.append(self._arriving[0][0])
        if self._unsent and self._plan.load.rate is not None:
            times.append(self._unsent[0].arrival_s or 0.0)
        if self._due:
            times.append(self._due[0][0])
        if self._streams:
            times.append(next(iter(self._streams.values())).sent_s + self._plan.timeout_s)
        return min(times)

    def _gauges(self) -> dict[str, float]:
        scheduler = self._scheduler
        return {
            "running": len(scheduler.running),
            "waiting": len(scheduler.waiting),
            "kv_usage": scheduler.kv_usage,
        }

    def _shown(self) -> dict[str, float]:
        """What a real engine would show on /metrics, under the names of core.serverside."""
        counters, drafted = self._scheduler.counters, self._scheduler.settings.num_speculative_tokens
        return {
            **self._gauges(),
            "requests": counters.finished,
            "preemptions": counters.preemptions,
            "prompt_tokens": counters.prompt_tokens,
            "output_tokens": counters.generated_tokens,
            "prefix_queries": counters.prefix_queries,
            "prefix_hits": counters.prefix_hits,
            "draft_tokens": counters.drafted,
            "accepted_tokens": counters.accepted,
            "drafts": counters.drafted / drafted if drafted else 0,
        }

    def _send_first(self) -> None:
        if self._plan.load.concurrency is not None:
            for _ in range(min(self._plan.load.concurrency, len(self._unsent))):
                self._take(self._unsent.popleft(), 0.0)

    def _send_due(self) -> None:
        if self._plan.load.rate is not None:
            until = min(self._now, self._plan.max_s)
            while self._unsent and (self._unsent[0].arrival_s or 0.0) <= until:
                planned = self._unsent.popleft()
                self._take(planned, planned.arrival_s or 0.0)
        self._send_ready()

    def _send_ready(self) -> None:
        while self._due and self._due[0][0] <= min(self._now, self._plan.max_s):
            at_s, _, planned = heapq.heappop(self._due)
            self._send(planned, at_s)

    def _take(self, planned: PlannedRequest, at_s: float) -> None:
        """A request is to be sent at `at_s`, or when its conversation is ready for it."""
        if planned.after is not None:
            if planned.after not in self._ended_s:
                self._turns[planned.after] = (planned, at_s)
                return
            at_s = max(at_s, self._ended_s[planned.after] + planned.think_s)
        heapq.heappush(self._due, (at_s, planned.index, planned))
        self._send_ready()

    def _send(self, planned: PlannedRequest, at_s: float) -> None:
        stream = _Stream(planned, at_s, at_s)
        self._streams[planned.index] = stream
        self._sent += 1
        ready = max(at_s, self._front_end_free_s) + self._scheduler.cost.admission_s(planned.prompt_tokens)
        self._front_end_free_s = ready
        self._arriving.append((ready, stream))

    def _admit(self) -> None:
        while self._arriving and self._arriving[0][0] <= self._now:
            stream = self._arriving.popleft()[1]
            planned = stream.planned
            if planned.index not in self._streams:
                continue  # its client gave up before
            block_size = self._scheduler.settings.block_size
            spans = ((span.id, span.tokens) for span in planned.prefix)
            hashes = prefix_hashes(spans, block_size)[: planned.prompt_tokens // block_size]
            request = SimRequest(planned.index, planned.prompt_tokens, planned.output_tokens, hashes)
            if self._scheduler.fits(request):
                self._scheduler.add(request)
            else:
                length = self._scheduler.settings.max_model_len
                self._end(stream, f"http 400: this model's maximum context length is {length} tokens")

    def _expire(self) -> None:
        """Clients give up after `timeout_s`; at `max_s` all do, and what was not sent yet is left out."""
        if self._now >= self._plan.max_s:
            self._unsent.clear()
            self._due.clear()
            self._turns.clear()
            for stream in list(self._streams.values()):
                self._scheduler.cancel(stream.planned.index)
                self._end(stream, UNFINISHED, self._plan.max_s)
            return
        for stream in list(self._streams.values()):
            if stream.sent_s + self._plan.timeout_s > self._now:
                return
            self._scheduler.cancel(stream.planned.index)
            self._end(stream, "timeout", stream.sent_s + self._plan.timeout_s)

    def _end(self, stream: _Stream, error: str | None, at_s: float | None = None) -> None:
        del self._streams[stream.planned.index]
        end = self._now if at_s is None else at_s
        record = _record(stream, error, end)
        if self._stopped:
            self._late.append(record)
            return
        self._records.append(record)
        if self._stop is not None and len(self._records) in self._plan.looks and self._stop(self._records):
            self._stopped = True
        self._ended_s[stream.planned.index] = end
        if (turn := self._turns.pop(stream.planned.index, None)) is not None:
            self._take(*turn)
        if self._plan.load.concurrency is not None and self._unsent and end < self._plan.max_s:
            self._take(self._unsent.popleft(), end)


def _record(stream: _Stream, error: str | None, end_s: float) -> RequestRecord:
    seen = len(stream.token_s) if error is None else bisect.bisect_right(stream.token_s, end_s)
    return RequestRecord(
        planned=stream.planned,
        scheduled_s=stream.scheduled_s,
        sent_s=stream.sent_s,
        end_s=end_s,
        token_s=tuple(stream.token_s[:seen]),
        event_tokens=tuple(stream.event_tokens[:seen]),
        prompt_tokens=stream.planned.prompt_tokens,
        output_tokens=sum(stream.event_tokens[:seen]),
        error=error,
    )
