"""What a cancellation may cut short, and what it may not."""

from __future__ import annotations

import asyncio

import pytest

from tuner.core.errors import NotRestored
from tuner.core.undisturbed import undisturbed


async def test_putting_back_is_finished_before_a_cancellation_comes_through():
    steps: list[str] = []

    async def put_back() -> None:
        for step in ("template", "strategy", "owners"):
            await asyncio.sleep(0.01)
            steps.append(step)

    async def work() -> None:
        await undisturbed(put_back())
        steps.append("more")

    task = asyncio.create_task(work())
    for _ in range(2):
        await asyncio.sleep(0.005)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["template", "strategy", "owners"]


async def test_its_result_and_its_failure_come_through():
    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise NotRestored("no API server")

    assert await undisturbed(give(3)) == 3
    task = asyncio.create_task(undisturbed(fail()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(NotRestored):
        await task


async def test_work_that_ends_itself_is_not_waited_for():
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(undisturbed(give_up()), 1)
