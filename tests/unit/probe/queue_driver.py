"""An engine in memory whose capacity is known: c servers, first come first served, a fixed service time (M/D/c)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tuner.core.request import GreedyOutput, LevelPlan, LevelRecords, PlannedRequest, RequestRecord


@dataclass
class QueueDriver:
    """Each request waits for one of `servers`, gets its first token after `prefill_s` and one every `step_s` then.

    The highest stable rate is servers / (prefill_s + step_s * (output tokens - 1)). `broken` names an error for some
    requests; `foreign` makes levels void, and so may the delay `lag_s` of the first `late` levels.
    """

    servers: int = 8
    prefill_s: float = 0.1
    step_s: float = 0.02
    broken: Callable[[PlannedRequest], str | None] = lambda _: None
    foreign: int = 0
    late: int = 0  # warm-up included
    lag_s: float = 1.0
    needs_text: bool = False
    plans: list[LevelPlan] = field(default_factory=list)
    recorded: list[LevelRecords] = field(default_factory=list)

    def service_s(self, tokens: int) -> float:
        return self.prefill_s + self.step_s * (tokens - 1)

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        self.plans.append(plan)
        looks = list(plan.looks)
        done: list[RequestRecord] = []
        sent: list[RequestRecord] = []
        stopped_s: float | None = None
        for record in _as_they_end(self._served(plan), sent):
            if record.end_s > plan.max_s:
                break
            done.append(record)
            if looks and len(done) >= looks[0]:
                looks.pop(0)
                if stop(_in_order(done)):
                    stopped_s = record.end_s
                    break
        return self._result(plan, done, sent, stopped_s)

    def _result(
        self, plan: LevelPlan, done: list[RequestRecord], sent: list[RequestRecord], stopped_s: float | None
    ) -> LevelRecords:
        records = list(done)
        if stopped_s is None and len(done) < len(plan.requests):
            seen = {record.planned.index for record in done}
            records += [_cut(record, plan.max_s) for record in sent if _runs(record, seen, plan.max_s)]
        duration = stopped_s if stopped_s is not None else max((record.end_s for record in records), default=0.0)
        self.late -= 1
        result = LevelRecords(
            _in_order(records),
            duration,
            sum(record.sent_s <= duration for record in sent),
            self.lag_s if self.late >= 0 else 0.0,
            foreign=self.foreign,
        )
        self.recorded.append(result)
        return result

    def _served(self, plan: LevelPlan) -> Iterator[RequestRecord]:
        """Every planned request as it would go if the level lasted for ever."""
        free = [0.0] * self.servers
        clients = [0.0] * (plan.load.concurrency or 0)
        for planned in plan.requests:
            due = planned.arrival_s if planned.arrival_s is not None else heapq.heappop(clients)
            start = max(due, heapq.heappop(free))
            first = start + self.prefill_s
            tokens = tuple(first + self.step_s * i for i in range(planned.output_tokens))
            error = self.broken(planned)
            heapq.heappush(free, tokens[-1])
            if planned.arrival_s is None:
                heapq.heappush(clients, tokens[-1])
            count = len(tokens)
            yield RequestRecord(
                planned, due, due, tokens[-1], tokens, (1,) * count, planned.prompt_tokens, count, error
            )

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        return tuple(GreedyOutput((prompt,) * max_tokens, -1.0) for prompt in prompts)

    async def close(self) -> None:
        return None


def _as_they_end(served: Iterable[RequestRecord], sent: list[RequestRecord]) -> Iterator[RequestRecord]:
    """By their ends; `sent` gets every record that was looked at for it. Nothing ends before it was due."""
    running: list[tuple[float, int, RequestRecord]] = []
    for record in served:
        while running and running[0][0] <= record.scheduled_s:
            yield heapq.heappop(running)[2]
        sent.append(record)
        heapq.heappush(running, (record.end_s, record.planned.index, record))
    while running:
        yield heapq.heappop(running)[2]


def _in_order(records: Sequence[RequestRecord]) -> tuple[RequestRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.planned.index))


def _runs(record: RequestRecord, seen: set[int], at_s: float) -> bool:
    return record.planned.index not in seen and record.sent_s <= at_s < record.end_s


def _cut(record: RequestRecord, at_s: float) -> RequestRecord:
    times = tuple(time for time in record.token_s if time <= at_s)
    ones = (1,) * len(times)
    return RequestRecord(
        record.planned, record.scheduled_s, record.sent_s, at_s, times, ones, 0, len(times), "unfinished"
    )
