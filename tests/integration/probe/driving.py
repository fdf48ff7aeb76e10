"""The HTTP driver at work on a fake server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.integration.probe.fake_openai import FakeOpenAI, read_counters
from tuner.core.request import LevelPlan, LevelRecords, PlannedRequest
from tuner.core.workload import Api, Load
from tuner.probe import HttpDriver, http_driver


@asynccontextmanager
async def driving(
    server: FakeOpenAI, model: str, *, api: Api = Api.COMPLETIONS, api_key: str | None = None, processes: int = 1
) -> AsyncIterator[HttpDriver]:
    async with server.serving():
        driver = http_driver(server.url, model, api=api, api_key=api_key, processes=processes, counters=read_counters)
        try:
            yield driver
        finally:
            await driver.close()


def plan(
    n: int = 24,
    *,
    rate: float | None = None,
    tokens: int = 8,
    looks: Sequence[int] = (),
    timeout_s: float = 5.0,
    max_s: float = 20.0,
    concurrency: int = 8,
) -> LevelPlan:
    load = Load(rate=rate) if rate else Load(concurrency=concurrency)
    requests = tuple(
        PlannedRequest(i, 5, tokens, i / rate if rate else None, text="one two three four five") for i in range(n)
    )
    return LevelPlan(load, requests, tuple(looks), timeout_s, max_s)


async def run(model: str, a_plan: LevelPlan | None = None, **options: object) -> LevelRecords:
    async with driving(FakeOpenAI(), model, **options) as driver:  # type: ignore[arg-type]
        return await driver.level(a_plan or plan(), lambda _: False)


def kinds(found: LevelRecords) -> dict[str, int]:
    errors = [record.error.partition(":")[0] for record in found.records if record.error]
    return {kind: errors.count(kind) for kind in errors}


async def eventually(true: Callable[[], bool]) -> None:
    """Wait for what has to come true within seconds."""
    for _ in range(100):
        if true():
            return
        await asyncio.sleep(0.05)
    pytest.fail("still not true after 5 s")
