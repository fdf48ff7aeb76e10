from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.unit.study.test_confirm import FEW, MANY, confirmed, loop_with
from tuner.core.knob import Candidate
from tuner.core.request import GreedyOutput, LevelPlan, LevelRecords, RequestRecord
from tuner.store import Store
from tuner.study.progress import Event, Note
from tuner.targets.simulated import SimulatedDriver
from tuner.targets.target import Progress, Running, Target


class Uncounted:
    """A driver of an engine that does not show how many requests it served."""

    needs_text = False

    def __init__(self, driver: SimulatedDriver) -> None:
        self._driver = driver

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        return replace(await self._driver.level(plan, stop), foreign=None)

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        return await self._driver.greedy(prompts, max_tokens)

    async def close(self) -> None:
        await self._driver.close()


def blinded(target: Target) -> Target:
    apply = target.apply

    async def blind(candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        running = await apply(candidate, deadline_s, progress)
        assert isinstance(running.driver, SimulatedDriver)
        return replace(running, driver=Uncounted(running.driver))

    target.apply = blind  # type: ignore[method-assign]
    return target


async def test_the_user_is_told_once_that_foreign_traffic_can_not_be_noticed(tmp_path: Path) -> None:
    told: list[Event] = []
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW)
        loop.target, loop.observe = blinded(loop.target), told.append
        await confirmed(loop, MANY)

    notes = [event.text for event in told if isinstance(event, Note)]
    assert [text for text in notes if "foreign traffic" in text] == [
        "the engine shows no count of its requests on /metrics: foreign traffic goes unnoticed"
    ]
