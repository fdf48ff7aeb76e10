"""The HTTP server: vLLM's routes over one engine."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hmac import compare_digest

from aiohttp import web

from tuner.simulator.settings import DEFAULT_VERSION
from tuner.simulator.truth import identity
from tuner.standin.engine import Engine, EngineDead
from tuner.standin.metrics import Metrics
from tuner.standin.protocol import BUSY, DEAD, Answer, Asked, BadRequest, Json, error_body, understand

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SSE = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_LARGEST_BODY = 64 * 2**20
#: Tokens after which an answer that may end by itself does so, on average.
_NATURAL_LENGTH = 200
_TEXT = "@@text@@"


@dataclass
class Service:
    """The routes' state. `engine` is None while the model is loading."""

    served_names: Sequence[str]
    api_keys: Sequence[str] = ()
    max_queued: int | None = None
    engine: Engine | None = None
    metrics: Metrics = field(default_factory=Metrics)

    def application(self) -> web.Application:
        """An aiohttp application with vLLM's routes."""
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[self._guard])
        app.router.add_get("/health", self.health)
        app.router.add_route("*", "/ping", self.health)
        app.router.add_get("/version", self.version)
        app.router.add_get("/metrics", self.metrics_page)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """The API key guards /v1 only, as vLLM does it."""
        if self.api_keys and request.path.startswith("/v1"):
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not any(compare_digest(given.encode(), key.encode()) for key in self.api_keys):
                return web.json_response({"error": "Unauthorized"}, status=401)
        return await handler(request)

    async def health(self, _: web.Request) -> web.StreamResponse:
        """200 once the engine serves."""
        alive = self.engine is not None and not self.engine.dead.is_set()
        return web.Response(status=200 if alive else 503)

    async def version(self, _: web.Request) -> web.StreamResponse:
        """The version of vLLM that this stands in for."""
        return web.json_response({"version": DEFAULT_VERSION})

    async def metrics_page(self, _: web.Request) -> web.StreamResponse:
        """Prometheus text."""
        if self.engine is None:
            return web.Response(status=503)
        text = self.metrics.page(self.engine, self.served_names[0])
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def models(self, _: web.Request) -> web.StreamResponse:
        """The served names."""
        if self.engine is None:
            return web.Response(status=503)
        length = self.engine.machine.settings.max_model_len
        made = int(time.time())
        data = [
            {"id": name, "object": "model", "created": made, "owned_by": "vllm", "root": name, "max_model_len": length}
            for name in self.served_names
        ]
        return web.json_response({"object": "list", "data": data})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions."""
        return await self._answer(request, chat=False)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        return await self._answer(request, chat=True)

    async def _answer(self, request: web.Request, chat: bool) -> web.StreamResponse:
        engine = self.engine
        if engine is None:
            return web.Response(status=503)
        try:
            if engine.dead.is_set():
                raise BadRequest(DEAD, 500, "InternalServerError")
            asked = understand(await _body(request), chat, self.served_names, engine.machine.settings.max_model_len)
            if not engine.fits(len(asked.tokens), asked.max_tokens):
                raise BadRequest("the request is longer than the KV cache", param="input_tokens")
            self._admit(engine)
        except BadRequest as refused:
            return web.json_response(refused.body, status=refused.status)
        return await _Exchange(self, engine, asked, request).run()

    def _admit(self, engine: Engine) -> None:
        if self.max_queued is not None and engine.waiting >= self.max_queued:
            self.metrics.rejections["max_num_queued_reqs"] += 1
            raise BadRequest(BUSY, 503, "Service Unavailable")


async def _body(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise BadRequest("the body is not JSON") from None


class _Exchange:
    """One request and its answer."""

    def __init__(self, service: Service, engine: Engine, asked: Asked, request: web.Request) -> None:
        self._metrics, self._engine, self._asked, self._request = service.metrics, engine, asked, request
        settings = engine.machine.settings
        length, self._finish = _length(asked)
        written = engine.machine.truth.greedy(asked.seed_text, length, settings)
        self._tokens = [f" {token}" for token in written.tokens]
        self._first_logprob = written.first_logprob
        prefix = "chatcmpl" if asked.chat else "cmpl"
        fingerprint = f"vllm-{DEFAULT_VERSION}-{identity(settings)}"
        self._frame: tuple[bytes, bytes] | None = None
        self._answer = Answer(asked, f"{prefix}-{uuid.uuid4().hex}", int(time.time()), fingerprint)

    async def run(self) -> web.StreamResponse:
        """Answer, and count how it ended; what its client gave up is not counted, as vLLM does not."""
        response, ended = await (self._streamed() if self._asked.stream else self._in_one_piece())
        if ended is not None:
            self._metrics.finished[ended] += 1
        return response

    async def _in_one_piece(self) -> tuple[web.StreamResponse, str]:
        try:
            async with aclosing(self._timed()) as counts:
                async for _ in counts:
                    pass
        except EngineDead:
            return web.json_response(error_body(DEAD, "InternalServerError", 500), status=500), "error"
        logprobs = self._answer.logprobs(self._tokens, self._first_logprob, 0)
        return web.json_response(self._answer.whole(self._tokens, self._finish, logprobs)), self._finish

    async def _streamed(self) -> tuple[web.StreamResponse, str | None]:
        response = web.StreamResponse(headers=_SSE)
        await response.prepare(self._request)
        try:
            opening = self._answer.opening()
            written, ended = 0, self._finish
            async with aclosing(self._timed()) as counts:
                async for count in counts:
                    if opening is not None:
                        await _send(response, opening)
                        opening = None
                    await response.write(self._event(written, count))
                    written += count
            if self._asked.include_usage:
                await _send(response, self._answer.closing(written))
        except EngineDead:
            ended = "error"
            await _send(response, error_body(DEAD, "InternalServerError", 500))
        except ConnectionError:
            return response, None  # the client is gone
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response, ended

    async def _timed(self) -> AsyncGenerator[int, None]:
        """The engine's token counts, with their times noted as vLLM notes them."""
        clock = asyncio.get_running_loop().time
        begun = last = clock()
        first = True
        async with aclosing(self._engine.generate(self._asked.tokens, len(self._tokens))) as counts:
            async for count in counts:
                now = clock()
                (self._metrics.ttft if first else self._metrics.itl).observe(now - last)
                first, last = False, now
                yield count
        self._metrics.e2e.observe(last - begun)

    def _event(self, written: int, count: int) -> bytes:
        """One event with tokens. Most differ in their text alone, so that is all that is made anew for each."""
        plain = not (self._asked.logprobs or self._asked.continuous_usage) and written + count < len(self._tokens)
        if not plain:
            return _encoded(self._content(written, count))
        if self._frame is None:
            before, _, after = _encoded(self._answer.content([_TEXT], None, None, None)).partition(_TEXT.encode())
            self._frame = (before, after)
        text = json.dumps("".join(self._tokens[written : written + count]))[1:-1]
        return self._frame[0] + text.encode() + self._frame[1]

    def _content(self, written: int, count: int) -> Json:
        tokens = self._tokens[written : written + count]
        finish = self._finish if written + count >= len(self._tokens) else None
        usage = self._answer.usage(written + count) if self._asked.continuous_usage else None
        return self._answer.content(tokens, finish, self._answer.logprobs(tokens, self._first_logprob, written), usage)


def _length(asked: Asked) -> tuple[int, str]:
    """How long the answer is, and why it ends. Unless told to go on, a model ends where it likes: here, by prompt."""
    if asked.ignore_eos:
        return asked.max_tokens, "length"
    natural = max(1, asked.min_tokens, round(random.Random(asked.seed_text).expovariate(1 / _NATURAL_LENGTH)))
    return (natural, "stop") if natural < asked.max_tokens else (asked.max_tokens, "length")


async def _send(response: web.StreamResponse, event: Json) -> None:
    await response.write(_encoded(event))


def _encoded(event: Json) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
