"""The HTTP server: vLLM's routes over one engine."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest

from aiohttp import web

from tuner.simulator.settings import DEFAULT_VERSION
from tuner.standin.engine import Engine
from tuner.standin.exchange import Exchange
from tuner.standin.metrics import Metrics
from tuner.standin.protocol import BUSY, DEAD, BadRequest, understand

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LARGEST_BODY = 64 * 2**20


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
        received_ns, engine = time.monotonic_ns(), self.engine
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
        return await Exchange(engine, self.metrics, asked, request, received_ns).run()

    def _admit(self, engine: Engine) -> None:
        if self.max_queued is not None and engine.waiting >= self.max_queued:
            self.metrics.rejections["max_num_queued_reqs"] += 1
            raise BadRequest(BUSY, 503, "Service Unavailable")


async def _body(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise BadRequest("the body is not JSON") from None
