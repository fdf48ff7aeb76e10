"""The server's own view, taken while a level runs against a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.integration.probe.driving import driving, eventually, plan
from tests.integration.probe.fake_openai import FakeOpenAI
from tuner.engines.metrics import counters
from tuner.probe.client import serverside
from tuner.probe.client.control import Control
from tuner.probe.client.serverside import pause_after, sampled, view_of


class Server:
    """Shows a number of running requests that grows with every look, at `path`, after `delay_s`."""

    def __init__(self, path: str = "/metrics") -> None:
        self.path, self.delay_s, self.looks = path, 0.0, 0

    @asynccontextmanager
    async def controlled(self) -> AsyncIterator[Control]:
        app = web.Application()
        app.router.add_get(self.path, self.metrics)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        control = Control(f"http://127.0.0.1:{runner.addresses[0][1]}", {}, counters)
        try:
            yield control
        finally:
            await control.close()
            await runner.cleanup()

    async def metrics(self, _: web.Request) -> web.Response:
        self.looks += 1
        await asyncio.sleep(self.delay_s)
        return web.Response(text=f"vllm:num_requests_running {self.looks}\nvllm:num_preemptions_total {self.looks}\n")


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverside, "_PERIOD_S", 0.05)
    monkeypatch.setattr(serverside, "_SHARE", 1.0)


@pytest.mark.usefixtures("_often")
async def test_the_server_is_looked_at_before_during_and_after_a_level() -> None:
    async with Server().controlled() as control:
        async with sampled(control, await control.counters()) as watch:
            await eventually(lambda: len(watch.during) >= 3)
        seen = watch.samples(await control.counters())

    assert seen is not None
    times = [sample.at_s for sample in seen.during]
    assert times == sorted(times)
    view = view_of(seen)
    assert (view.samples, view.missed) == (len(times), 0)
    assert view.gauges["running"].max == len(times) + 1
    assert view.counters["preemptions"] == len(times) + 1


@pytest.mark.usefixtures("_often")
async def test_a_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverside, "_PATIENCE_S", 0.05)
    server = Server()
    async with server.controlled() as control:
        before = await control.counters()
        server.delay_s = 60.0
        async with sampled(control, before) as watch:
            await eventually(lambda: watch.missed >= 2)
        assert watch.during == []


@pytest.mark.parametrize(
    ("took_s", "pause_s"),
    [
        (0.001, 0.999),  # about once a second
        (0.02, 1.98),  # a hundredth of the time
        (0.5, 4.5),  # but once in five seconds
        (6.0, 0.0),
    ],
)
def test_a_slow_server_is_asked_seldom_but_not_never(took_s: float, pause_s: float) -> None:
    assert pause_after(took_s) == pytest.approx(pause_s)


async def test_a_server_without_metrics_is_not_asked_again() -> None:
    server = Server(path="/nowhere")
    async with server.controlled() as control:
        async with sampled(control, await control.counters()) as watch:
            await asyncio.sleep(0.1)
        assert watch.samples({}) is None
    assert server.looks == 0


async def test_metrics_are_found_where_tensorrt_llm_has_them() -> None:
    async with Server(path="/prometheus/metrics").controlled() as control:
        assert (await control.counters())["running"] == 1
        assert (await control.look(1.0))["running"] == 2


@pytest.mark.usefixtures("_often")
async def test_a_level_over_http_brings_the_servers_view_and_what_was_cancelled() -> None:
    async with driving(FakeOpenAI(step_s=0.05), "good") as driver:
        found = await driver.level(plan(60, tokens=16, looks=(8,)), lambda _: True)

    assert found.server is not None
    assert found.server.after["requests"] - found.server.before["requests"] >= 8
    assert max(sample.values["running"] for sample in found.server.during) > 0
    assert found.cancelled
    assert len(found.records) + len(found.cancelled) == found.sent


async def test_a_level_that_fails_ends_the_looks() -> None:
    async with Server().controlled() as control:
        with pytest.raises(RuntimeError, match="the level"):
            async with sampled(control, await control.counters()):
                raise RuntimeError("the level")
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
