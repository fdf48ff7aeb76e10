"""A driver that can be watched while it works: what has ended of the level that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tuner.core.request import Driver, GreedyOutput, LevelPlan, LevelRecords, RequestRecord

# How often somebody who watches is shown what has ended: that costs a little, but not the process that measures.
_GLANCES = 200


@dataclass(frozen=True)
class Running:
    """A level that runs: its plan, what has ended of it, and when it began, in seconds by the watch's clock."""

    plan: LevelPlan
    records: Sequence[RequestRecord]
    began_s: float


class Watched:
    """The driver inside, as it is (see `core.request.Driver`): a level decides at its own looks and at no other.

    `on_begin` is told of each level, `clock` counts seconds. `running` is the level that runs, also after it was
    cancelled; `found` is what the last one that ended came to.
    """

    def __init__(self, driver: Driver, on_begin: Callable[[LevelPlan], None], clock: Callable[[], float]) -> None:
        self._driver = driver
        self._on_begin = on_begin
        self._clock = clock
        self.needs_text = driver.needs_text
        self.running: Running | None = None
        self.found: LevelRecords | None = None

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        """Run one level, and let it be watched."""
        began_s = self._clock()
        self.running = Running(plan, (), began_s)
        self._on_begin(plan)
        own = iter(plan.looks)
        due = next(own, None)

        def look(records: Sequence[RequestRecord]) -> bool:
            nonlocal due
            self.running = Running(plan, records, began_s)
            if due is None or len(records) < due:
                return False
            due = next(own, None)
            return stop(records)

        looks = tuple(sorted({*plan.looks, *_glances(len(plan.requests))}))
        self.found = await self._driver.level(replace(plan, looks=looks), look)
        self.running = None
        return self.found

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        """Greedy completions of fixed prompts."""
        return await self._driver.greedy(prompts, max_tokens)

    async def close(self) -> None:
        """Release connections and processes."""
        await self._driver.close()


def _glances(requests: int) -> range:
    return range(1, requests, max(1, requests // _GLANCES))
