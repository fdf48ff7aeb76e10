"""One request and its answer."""

from __future__ import annotations

import random
import time
import uuid

from aiohttp import HttpVersion11, web

from tuner.simulator.settings import DEFAULT_VERSION
from tuner.simulator.truth import identity
from tuner.standin.engine import Engine, EngineDead
from tuner.standin.events import Events, encoded
from tuner.standin.metrics import Metrics, Timeline
from tuner.standin.protocol import DEAD, Answer, Asked, error_body
from tuner.standin.stream import Stream

_SSE = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_DEATH = error_body(DEAD, "InternalServerError", 500)
#: Tokens after which an answer that may end by itself does so, on average.
_NATURAL_LENGTH = 200


class Exchange:
    """What `engine` makes of what was asked by `request`, which was received at `received_ns` of CLOCK_MONOTONIC."""

    def __init__(self, engine: Engine, metrics: Metrics, asked: Asked, request: web.Request, received_ns: int) -> None:
        self._engine, self._metrics, self._asked, self._request = engine, metrics, asked, request
        self._received_ns = received_ns if engine.machine.options.stamps else None
        settings = engine.machine.settings
        length, self._finish = _length(asked)
        written = engine.machine.truth.greedy(asked.seed_text, length, settings)
        self._tokens = [f" {token}" for token in written.tokens]
        self._first_logprob = written.first_logprob
        prefix = "chatcmpl" if asked.chat else "cmpl"
        fingerprint = f"vllm-{DEFAULT_VERSION}-{identity(settings)}"
        self._answer = Answer(asked, f"{prefix}-{uuid.uuid4().hex}", int(time.time()), fingerprint)

    async def run(self) -> web.StreamResponse:
        """Answer, and count how it ended; what its client gave up is not counted, as vLLM does not."""
        response, ended = await (self._streamed() if self._asked.stream else self._in_one_piece())
        if ended is not None:
            self._metrics.finished[ended] += 1
        return response

    async def _in_one_piece(self) -> tuple[web.StreamResponse, str]:
        try:
            await self._served(None)
        except EngineDead:
            return web.json_response(_DEATH, status=500), "error"
        logprobs = self._answer.logprobs(self._tokens, self._first_logprob, 0)
        return web.json_response(self._answer.whole(self._tokens, self._finish, logprobs)), self._finish

    async def _streamed(self) -> tuple[web.StreamResponse, str | None]:
        response = web.StreamResponse(headers=_SSE)
        await response.prepare(self._request)
        transport = self._request.transport
        if transport is None:
            return response, None
        events = Events(self._answer, self._tokens, self._finish, self._first_logprob)
        stream = Stream(transport, self._request.version >= HttpVersion11, events, self._received_ns)
        ended = self._finish
        try:
            await self._served(stream)
        except EngineDead:
            ended = "error"
            stream.fail(encoded(_DEATH))
        try:
            await response.write_eof()
        except ConnectionError:
            return response, None  # the client is gone
        return response, ended

    async def _served(self, stream: Stream | None) -> None:
        """Have the engine serve it, with its times noted as vLLM notes them."""
        timeline = Timeline(self._metrics, time.monotonic())

        def deliver(count: int, produced_s: float) -> None:
            timeline.tokens(produced_s)
            if stream is not None:
                stream.deliver(count, produced_s)

        await self._engine.serve(self._asked.tokens, len(self._tokens), deliver)
        timeline.end()


def _length(asked: Asked) -> tuple[int, str]:
    """How long the answer is, and why it ends. Unless told to go on, a model ends where it likes: here, by prompt."""
    if asked.ignore_eos:
        return asked.max_tokens, "length"
    natural = max(1, asked.min_tokens, round(random.Random(asked.seed_text).expovariate(1 / _NATURAL_LENGTH)))
    return (natural, "stop") if natural < asked.max_tokens else (asked.max_tokens, "length")
