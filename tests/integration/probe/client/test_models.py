"""Which model is asked for, by what a server lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tuner.core.errors import InvalidInput, TunerError
from tuner.probe.client.models import find_model


@asynccontextmanager
async def _listing(answer: web.Response) -> AsyncIterator[str]:
    async def models(request: web.Request) -> web.Response:
        assert request.headers["X-Team"] == "search"
        return answer

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _models(*names: str) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": name} for name in names]})


async def _found(answer: web.Response, named: str | None = None) -> str:
    async with _listing(answer) as url:
        return await find_model(url, {"X-Team": "search"}, named)


async def test_the_only_model_is_asked_for() -> None:
    assert await _found(_models("llama")) == "llama"


async def test_one_of_several_has_to_be_named() -> None:
    assert await _found(_models("llama", "lora"), "lora") == "lora"
    with pytest.raises(InvalidInput, match=r"--model: missing; .* serves several, so name one: llama, lora"):
        await _found(_models("llama", "lora"))


@pytest.mark.parametrize(
    "answer", [web.Response(status=404), web.Response(text="hello"), web.json_response([]), web.json_response({})]
)
async def test_a_server_without_a_list_takes_the_model_that_is_named(answer: web.Response) -> None:
    assert await _found(_again(answer), "llama") == "llama"
    with pytest.raises(
        InvalidInput, match=r"URL: .* lists no models at /v1/models; allowed: the base URL .* --model NAME"
    ):
        await _found(_again(answer))


async def test_a_long_list_is_told_in_part() -> None:
    with pytest.raises(InvalidInput, match=r"'x' is not served .*; allowed: m0, m1, .*, m9 and 20 more$"):
        await _found(_models(*(f"m{number}" for number in range(30))), "x")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "refuses the API key .* TUNER_API_KEY"), (403, "refuses the API key"), (503, "can't serve now: HTTP 503")],
)
async def test_a_server_that_refuses_is_a_failure(status: int, expected: str) -> None:
    with pytest.raises(TunerError, match=expected):
        await _found(web.Response(status=status), "llama")


def _again(answer: web.Response) -> web.Response:
    """An answer can be sent once."""
    return web.Response(status=answer.status, text=answer.text, content_type=answer.content_type)
