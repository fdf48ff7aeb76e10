"""A small OpenAI-compatible server that speaks vLLM's shapes, well or badly, as the model's name says.

Models: "good"; "missing" (one token too few); "in-band" (an error event mid-stream on every fourth request); "dead"
(vLLM's EngineDead event on the tenth request, 503 on /health afterwards); "broken" (the connection ends mid-stream on
every fifth request); "busy" (503 on every third); "refuse" (400 always); "stuck" (never answers); "spec" (four tokens
an event); "no-usage" (ignores include_usage); "split" (events split over writes, comments, CRLF).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


@dataclass
class FakeOpenAI:
    first_s: float = 0.02
    step_s: float = 0.004
    key: str | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    finished: int = 0
    foreign: float = 0.0  # requests of others that it serves beside each of ours
    counts: bool = True  # shows how many requests it served
    deaf: int = 0  # so many requests for its metrics get no answer
    dead: bool = False
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeOpenAI]:
        app = web.Application()
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.runner = runner
        try:
            yield self
        finally:
            await runner.cleanup()

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.dead else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        if self.deaf > 0:
            self.deaf -= 1
            assert request.transport is not None
            request.transport.close()
        served = round(self.finished * (1 + self.foreign))
        counted = f"requests {served}\npreemptions {self.finished}\n" if self.counts else ""
        return web.Response(text=f"{counted}running {self.running}\nwaiting 0\n")

    async def complete(self, request: web.Request) -> web.StreamResponse:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "Unauthorized", "code": 401}}, status=401)
        body = await request.json()
        self.bodies.append(body)
        number = len(self.bodies)
        if body["model"] == "refuse":
            return web.json_response({"error": {"message": "maximum context length is 8", "code": 400}}, status=400)
        if body["model"] == "busy" and number % 3 == 0:
            return web.json_response({"error": {"message": "currently busy", "code": 503}}, status=503)
        chat = request.path.endswith("/chat/completions")
        if not body.get("stream"):
            return web.json_response(_whole(chat, body))
        self.running += 1
        try:
            response = await self.stream(request, body, chat, number)
        finally:
            self.running -= 1
        # As vLLM does it, a request that its client gave up is not counted.
        self.finished += 1
        return response

    async def stream(self, request: web.Request, body: dict[str, Any], chat: bool, number: int) -> web.StreamResponse:
        model, tokens = body["model"], body["max_tokens"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        send = _Sender(response, split=model == "split")
        if chat:
            await send(_chunk(chat, {"role": "assistant", "content": ""}))
        await asyncio.sleep(3600 if model == "stuck" else self.first_s)
        count = tokens - 1 if model == "missing" else tokens
        step = 4 if model == "spec" else 1
        for sent in range(0, count, step):
            if sent:
                await asyncio.sleep(self.step_s)
            last = sent + step >= count
            text = " word" * min(step, count - sent)
            await send(_chunk(chat, {"content": text} if chat else text, "length" if last else None))
            if sent == 4 and await self._misbehave(request, send, model, number):
                return response
        if model != "no-usage":
            words = len(_text(body).split())
            await send({"choices": [], "usage": {"prompt_tokens": 3 * words + 7, "completion_tokens": count}})
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _misbehave(self, request: web.Request, send: _Sender, model: str, number: int) -> bool:
        if model == "broken" and number % 5 == 0:
            assert request.transport is not None
            request.transport.close()
            return True
        self.dead = self.dead or (model == "dead" and number >= 10)
        if self.dead or (model == "in-band" and number % 4 == 0):
            message = DEAD if self.dead else "out of luck"
            await send({"error": {"message": message, "type": "InternalServerError", "param": None, "code": 500}})
            await send.response.write(b"data: [DONE]\n\n")
            return True
        return False


@dataclass
class _Sender:
    response: web.StreamResponse
    split: bool

    async def __call__(self, event: dict[str, Any]) -> None:
        data = json.dumps(event).encode()
        if not self.split:
            await self.response.write(b"data: " + data + b"\n\n")
            return
        whole = b": keep-alive\r\n\r\ndata: " + data + b"\r\n\r\n"
        for start in range(0, len(whole), 29):
            await self.response.write(whole[start : start + 29])
            await asyncio.sleep(0)


def _chunk(chat: bool, content: Any, finish: str | None = None) -> dict[str, Any]:
    part = {"delta": content} if chat else {"text": content}
    return {"object": "chunk", "choices": [{"index": 0, **part, "logprobs": None, "finish_reason": finish}]}


def _whole(chat: bool, body: dict[str, Any]) -> dict[str, Any]:
    tokens = [f" {word}" for word in _text(body).split()[: body["max_tokens"]]]
    if chat:
        return {"choices": [{"logprobs": {"content": [{"token": token, "logprob": -0.5} for token in tokens]}}]}
    return {"choices": [{"logprobs": {"tokens": tokens, "token_logprobs": [-0.5] * len(tokens)}}]}


def _text(body: dict[str, Any]) -> str:
    return str(body["prompt"]) if "prompt" in body else " ".join(one["content"] for one in body["messages"])


def read_counters(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}
