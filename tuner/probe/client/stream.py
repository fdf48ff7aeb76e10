"""Reads one ended stream: from bytes with their times of arrival to the record of a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tuner.core.request import PlannedRequest, RequestRecord
from tuner.probe.client.response import BadResponse, Response
from tuner.probe.client.sse import EventParser
from tuner.probe.client.wire import Reply

MISSING_TOKENS = "missing tokens"
IN_BAND = "in-band error"
_DETAIL = 200


@dataclass
class _Seen:
    """What a stream's events said, in order of arrival."""

    # Of each event that may have carried tokens: when it arrived, and whether it brought text.
    events: list[tuple[float, bool]] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    done: bool = False
    error: str | None = None


def record_of(planned: PlannedRequest, reply: Reply) -> RequestRecord:
    """The record of a request. Its `error` is a short kind, with detail after a colon:

    "http NNN", "in-band error", "missing tokens", "disconnected", "connection refused", "timeout", "unfinished" (still
    running when the level ended) or "bad stream".
    """
    seen = _Seen()
    response, bodies = _bodies(reply)
    error = reply.error
    if response.status is not None and response.status != 200:
        error = error or f"http {response.status}: {_http_message(b''.join(bodies))}"
    else:
        _read(bodies, reply.read_s, seen)
    token_s, event_tokens = _tokens(seen)
    output_tokens = sum(event_tokens) if seen.completion_tokens is None else seen.completion_tokens
    # A server that reports no usage may put several tokens into one event; "length" says that it sent all of them.
    if seen.completion_tokens is None and seen.finish_reason == "length":
        output_tokens = max(output_tokens, planned.output_tokens)
        event_tokens = _spread(output_tokens, len(token_s))
    return RequestRecord(
        planned,
        reply.scheduled_s,
        reply.sent_s,
        reply.end_s,
        token_s,
        event_tokens,
        planned.prompt_tokens if seen.prompt_tokens is None else seen.prompt_tokens,
        output_tokens,
        seen.error or error or _incomplete(planned, seen, output_tokens),
    )


def kind_of(error: str) -> str:
    """The kind of an error without its detail."""
    return error.partition(":")[0]


def _incomplete(planned: PlannedRequest, seen: _Seen, output_tokens: int) -> str | None:
    if not seen.done and seen.finish_reason is None:
        return "disconnected: the stream ended without a finish reason"
    if output_tokens != planned.output_tokens:
        return f"{MISSING_TOKENS}: {output_tokens} of {planned.output_tokens}, finish reason {seen.finish_reason}"
    if not seen.events:
        return f"bad stream: it reports {output_tokens} tokens and brought none"
    return None


def _bodies(reply: Reply) -> tuple[Response, list[bytes]]:
    """What each read brought of the response's body; less where the rest is no HTTP."""
    response, bodies = Response(), []
    start = 0
    for size in reply.sizes:
        try:
            bodies.append(response.feed(reply.data[start : start + size]))
        except BadResponse:
            break
        start += size
    return response, bodies


def _read(bodies: Sequence[bytes], read_s: Sequence[float], seen: _Seen) -> None:
    parser = EventParser()
    for when, body in zip(read_s, bodies, strict=False):
        for data in parser.feed(body):
            _event(data, when, seen)


def _event(data: bytes, when: float, seen: _Seen) -> None:
    if data.strip() == b"[DONE]":
        seen.done = True
        return
    event = _parsed(data)
    if not isinstance(event, dict):
        seen.error = seen.error or f"bad stream: {data[:80]!r} is no JSON object"
        return
    if event.get("error"):
        seen.error = seen.error or f"{IN_BAND}: {_message(event)}"
    usage = event.get("usage")
    if isinstance(usage, dict):
        seen.prompt_tokens = _count(usage, "prompt_tokens", seen.prompt_tokens)
        seen.completion_tokens = _count(usage, "completion_tokens", seen.completion_tokens)
    choices = event.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        _choice(choices[0], when, seen)


def _parsed(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except ValueError:
        pass
    try:
        return json.loads(data)  # Python servers write NaN, which is no JSON
    except (ValueError, RecursionError):
        return None


def _choice(choice: dict[str, Any], when: float, seen: _Seen) -> None:
    seen.finish_reason = choice.get("finish_reason") or seen.finish_reason
    delta = choice.get("delta")
    if isinstance(delta, dict):
        text = any(value for name, value in delta.items() if name != "role")
        if not text and delta.get("role"):
            return  # announces who speaks, before any token
    else:
        text = bool(choice.get("text"))
    seen.events.append((when, text))


def _tokens(seen: _Seen) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Times and token counts of the events that carried tokens.

    A token may have no text (half a character), and an event without text may have no token (a bare finish reason, a
    first one that only opens the stream). Where the reported usage is one token per event, all of them count, else
    those with text. Tokens beyond one per event are spread evenly.
    """
    times = [when for when, _ in seen.events]
    total = seen.completion_tokens
    if total != len(times):
        times = [when for when, text in seen.events if text] or times
    if total is None:
        return tuple(times), (1,) * len(times)
    times = times[:total]
    return tuple(times), _spread(total, len(times))


def _spread(total: int, events: int) -> tuple[int, ...]:
    if events == 0:
        return ()
    return tuple(total * (i + 1) // events - total * i // events for i in range(events))


def _count(usage: dict[str, Any], name: str, before: int | None) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else before


def _http_message(body: bytes) -> str:
    try:
        return _message(orjson.loads(body))
    except ValueError:
        return body[:_DETAIL].decode("utf-8", "replace").strip()


def _message(event: object) -> str:
    error = event.get("error", event) if isinstance(event, dict) else event
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:_DETAIL]
