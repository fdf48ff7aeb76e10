"""Drives a real engine over streaming HTTP: the driver of every target that has an endpoint."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.request import (
    UNFINISHED,
    GreedyOutput,
    LevelPlan,
    LevelRecords,
    Message,
    PlannedRequest,
    RequestRecord,
)
from tuner.core.workload import Api
from tuner.probe.client.connection import STAMPED
from tuner.probe.client.control import Control, Counters
from tuner.probe.client.fleet import Fleet, Run
from tuner.probe.client.foreign import foreign_requests
from tuner.probe.client.greedy import greedy_output
from tuner.probe.client.serverside import sampled
from tuner.probe.client.stream import kind_of, record_of
from tuner.probe.client.wire import Ended, Shot, Volley

_PATHS = {Api.COMPLETIONS: "/v1/completions", Api.CHAT: "/v1/chat/completions"}
_DRAIN_S = 60.0
# vLLM's words for "the engine's process is gone while the API server still answers".
_ENGINE_DEAD = ("EngineCore encountered an issue", "EngineDeadError")
_REFUSED_IN_A_ROW = 3
_ASKED_EVERY_S = 5.0
#: What a header's name may be (RFC 9110, section 5.6.2), as a regular expression.
HEADER_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_NAME = re.compile(HEADER_NAME)
#: How a request's body travels, which is ours to say.
_OURS = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_BODY = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_VALUE = re.compile(r"[\t\x20-\x7e]*")


def http_driver(
    endpoint: str,
    model: str,
    *,
    api: Api = Api.COMPLETIONS,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    processes: int = 1,
    counters: Counters,
) -> HttpDriver:
    """A driver for the OpenAI-compatible server at `endpoint` (base URL, with or without /v1) that serves `model`.

    `headers` go with every request. `counters` reads the text of /metrics (an engine module's `counters`). The load
    comes from so many `processes`; one is enough for some 10,000 streamed events a second (docs/results.md). Nothing is
    started or sent before the first level. TLS certificates are verified; proxies of the environment are not used.
    Raises InvalidInput for a header that can't be sent.
    """
    return HttpDriver(endpoint, model, api, headers_of(api_key, headers or {}), processes, counters)


def headers_of(api_key: str | None, own: Mapping[str, str]) -> Mapping[str, str]:
    """What goes with every request: the user's `own` headers, and the API key unless one of them has it.

    Raises InvalidInput for a header that can't be sent.
    """
    headers = _over(own, {"Authorization": f"Bearer {api_key}"} if api_key else {})
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"header {name!r}: allowed are letters, digits and -, as in X-Team")
        if name.lower() in _OURS:
            raise InvalidInput(f"header {name}: is said by tuner itself, by what it sends; leave it out")
        if not _VALUE.fullmatch(value):  # the value may be a secret
            raise InvalidInput(f"header {name}: its value holds what can't be sent; allowed: one line of ASCII text")
    return headers


def _over(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """The headers of both; one that both have, whatever its case, is the first's."""
    named = {name.lower() for name in first}
    return {**{name: value for name, value in second.items() if name.lower() not in named}, **first}


@dataclass
class _Progress:
    """One level as seen so far."""

    plan: LevelPlan
    records: list[RequestRecord] = field(default_factory=list)
    late: list[RequestRecord] = field(default_factory=list)  # ended or cancelled after the order to stop: no part of it
    refused_in_a_row: int = 0
    last_errors: list[str] = field(default_factory=list)
    asked_s: float = -math.inf  # when /health was asked last

    def may_ask(self) -> bool:
        """Whether to ask for the server's health: one that leaves that unanswered must not take the level's time."""
        return time.monotonic() - self.asked_s > _ASKED_EVERY_S

    def add(self, record: RequestRecord) -> None:
        self.records.append(record)
        if record.error is None:
            self.refused_in_a_row = 0
            return
        self.last_errors = [*self.last_errors[-4:], record.error]
        self.refused_in_a_row = self.refused_in_a_row + 1 if kind_of(record.error) == "connection refused" else 0

    def in_order(self) -> tuple[RequestRecord, ...]:
        return tuple(sorted(self.records, key=lambda record: record.planned.index))


class HttpDriver:
    """A `core.request.Driver` over HTTP. The hot path runs in processes of its own; see `worker`."""

    needs_text = True

    def __init__(
        self, endpoint: str, model: str, api: Api, headers: Mapping[str, str], processes: int, counters: Counters
    ) -> None:
        self._endpoint = endpoint.rstrip("/").removesuffix("/v1")
        self._model = model
        self._api = api
        self._headers = headers
        self._processes = processes
        self._control = Control(self._endpoint, headers, counters)
        self._fleet: Fleet | None = None

    @property
    def load_pids(self) -> tuple[int, ...]:
        """The process ids of the load processes, while there are any."""
        return tuple(process.pid for process in self._fleet.processes) if self._fleet is not None else ()

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        """Run one level (see `core.request.Driver`).

        Raises TrialFailed: crash-under-load as soon as the engine is seen to be gone (an in-band EngineDead error,
        several refused connections in a row, or a broken stream and a server that does not answer on /health);
        probe-error where a load process died.
        """
        before = await self._control.drained(_DRAIN_S)
        progress = _Progress(plan)
        try:
            self._fleet = self._fleet or await Fleet.start(self._processes)
            run = await self._fleet.run(self._volley(plan))
            try:
                async with sampled(self._control, before) as server:
                    ended = await self._follow(run, progress, stop)
            finally:
                run.leave()
        except BaseException:
            await self._discard_fleet()
            raise
        after = await self._control.drained(_DRAIN_S)
        late, lag = _p99(ended.late_s), _p99(ended.lag_s)
        return LevelRecords(
            progress.in_order(),
            ended.duration_s,
            ended.sent,
            # Clients that wait for each other are held up by the whole process.
            late if plan.load.concurrency is None else lag,
            foreign_requests(before, after, [*progress.records, *progress.late]),
            _growth("preemptions", before, after),
            tuple(progress.late),
            0.0 if STAMPED else lag,
            server.samples(after),
        )

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        """Greedy completions of fixed prompts, one at a time. Raises TrialFailed where the server does not answer."""
        return tuple(
            [
                await greedy_output(self._control.client, _PATHS[self._api], self._body(prompt, max_tokens))
                for prompt in prompts
            ]
        )

    async def close(self) -> None:
        """End the load processes and close connections."""
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            await fleet.close()
        await self._control.close()

    async def _follow(self, run: Run, progress: _Progress, stop: Callable[[Sequence[RequestRecord]], bool]) -> Ended:
        by_index = {planned.index: planned for planned in progress.plan.requests}
        looks = iter(progress.plan.looks)
        look = next(looks, None)
        stopped = False
        while not isinstance(message := await run.next(), Ended):
            record = record_of(by_index[message.index], message)
            if stopped:
                progress.late.append(record)
                continue
            progress.add(record)
            await self._check_alive(record, progress)
            if look is not None and len(progress.records) >= look:
                look = next(looks, None)
                stopped = stop(progress.in_order())
                if stopped:
                    await run.stop()
        return message

    async def _check_alive(self, record: RequestRecord, progress: _Progress) -> None:
        if record.error is None or kind_of(record.error) in ("missing tokens", "timeout", UNFINISHED):
            return
        reason: str | None = None
        if any(words in record.error for words in _ENGINE_DEAD):
            reason = f"the engine said: {record.error}"
        elif progress.refused_in_a_row >= _REFUSED_IN_A_ROW:
            reason = f"{progress.refused_in_a_row} connections in a row were refused"
        elif kind_of(record.error) in ("disconnected", "connection refused") and progress.may_ask():
            reason = await self._control.dead()
            progress.asked_s = time.monotonic()
        if reason is None:
            return
        done = len(progress.records)
        evidence = "\n".join([reason, f"{done} of {len(progress.plan.requests)} requests ended", *progress.last_errors])
        raise TrialFailed(
            Failure(Cause.CRASH_UNDER_LOAD, f"the engine stopped serving under {progress.plan.load}", evidence)
        )

    async def _discard_fleet(self) -> None:
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            fleet.kill()
            await fleet.close()

    def _volley(self, plan: LevelPlan) -> Volley:
        return Volley(
            self._endpoint + _PATHS[self._api],
            _over(_BODY, self._headers),
            tuple(self._shot(planned) for planned in plan.requests),
            plan.load.concurrency,
            plan.timeout_s,
            plan.max_s,
        )

    def _shot(self, planned: PlannedRequest) -> Shot:
        return Shot(planned.index, planned.arrival_s, self._payload(planned), planned.after, planned.think_s)

    def _payload(self, planned: PlannedRequest) -> bytes:
        if planned.text is None:
            raise ValueError(f"request {planned.index} has no text to send")
        body = {
            **self._body(planned.text, planned.output_tokens, planned.messages),
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return json.dumps(body).encode()

    def _body(self, text: str, max_tokens: int, messages: Sequence[Message] = ()) -> dict[str, object]:
        prompt: dict[str, object] = {"prompt": text}
        if self._api is Api.CHAT:
            told = messages or (("user", text),)
            prompt = {"messages": [{"role": role, "content": content} for role, content in told]}
        return {"model": self._model, **prompt, "max_tokens": max_tokens}


def _p99(delays_s: Sequence[float]) -> float:
    return float(np.quantile(delays_s, 0.99)) if len(delays_s) else 0.0


def _growth(name: str, before: Mapping[str, float], after: Mapping[str, float]) -> int | None:
    """How much a counter grew; None where the server does not show it."""
    return round(after[name] - before[name]) if name in before and name in after else None
