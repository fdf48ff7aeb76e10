"""An engine asked over HTTP, or something else that answers in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from tests.support.engines import free_port
from tuner.targets.kubernetes.serving import Serving

Serve = Callable[[str], Awaitable[Serving]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Makes a server that answers every path with one text."""
    opened: list[web.AppRunner | Serving] = []

    async def function(text: str) -> Serving:
        app, port = web.Application(), free_port()

        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=text)

        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        serving = Serving(f"http://127.0.0.1:{port}")
        opened.extend((serving, runner))
        return serving

    yield function
    for one in opened:
        await (one.close() if isinstance(one, Serving) else one.cleanup())


@pytest.mark.parametrize(
    "text", ["<html>welcome</html>", "[]", '"x"', "null", '{"data": null}', '{"data": [{}]}', '{"data": {"id": 1}}']
)
async def test_an_answer_of_another_shape_names_no_model_and_no_version(serve: Serve, text: str) -> None:
    serving = await serve(text)
    assert await serving.model() is None
    assert await serving.version() is None


async def test_a_refused_connection_is_told_from_an_unhealthy_engine() -> None:
    serving = Serving(f"http://127.0.0.1:{free_port()}")
    health = await serving.health()
    await serving.close()
    assert (health.ok, health.connected, health.unroutable) == (False, False, False)
