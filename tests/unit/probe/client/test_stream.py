from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.core.request import PlannedRequest
from tuner.probe.client.stream import kind_of, record_of
from tuner.probe.client.wire import Reply

PLANNED = PlannedRequest(0, 7, 4)
DONE = "[DONE]"
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}


def token(text: str = " x", finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}


def delta(finish: str | None = None, **parts: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish}]}


TOKENS = [token(), token(), token(), token(finish="length")]


def reply(*events: object, status: int | None = 200, error: str | None = None, per_read: int = 1) -> Reply:
    texts = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode() for event in events]
    reads = [b"".join(texts[i : i + per_read]) for i in range(0, len(texts), per_read)]
    return answered(reads, status, error)


def answered(reads: Sequence[bytes], status: int | None = 200, error: str | None = None) -> Reply:
    """A reply whose body comes in these reads, the head of the response before the first of them."""
    head = b"HTTP/1.1 %d Some words\r\n\r\n" % status if status is not None else b""
    reads = [head + reads[0], *reads[1:]] if reads else [head] if head else []
    times = tuple(0.5 + 0.1 * i for i in range(len(reads)))
    return Reply(0, 0.0, 0.01, 2.0, times, tuple(map(len, reads)), b"".join(reads), error)


def test_tokens_carry_the_time_of_the_read_that_completed_them() -> None:
    record = record_of(PLANNED, reply(*TOKENS, USAGE, DONE))

    assert record.ok
    assert record.token_s == pytest.approx((0.5, 0.6, 0.7, 0.8))
    assert record.event_tokens == (1, 1, 1, 1)
    assert (record.prompt_tokens, record.output_tokens) == (9, 4)


def test_several_events_in_one_read_share_its_time() -> None:
    record = record_of(PLANNED, reply(*TOKENS, USAGE, DONE, per_read=2))

    assert record.ok
    assert record.token_s == pytest.approx((0.5, 0.5, 0.6, 0.6))


def test_the_role_of_a_chat_is_no_token() -> None:
    contents = [delta(content=text) for text in "abc"]
    events = [delta(role="assistant", content=""), *contents, delta("length", content="d"), USAGE, DONE]

    record = record_of(PLANNED, reply(*events))

    assert record.ok
    assert record.ttft_s == pytest.approx(0.6)
    assert len(record.token_s) == 4


def test_reasoning_counts_as_tokens() -> None:
    events = [delta(reasoning_content="a"), delta(content="b"), delta(content="c"), delta("length", content="d")]

    assert len(record_of(PLANNED, reply(*events, USAGE, DONE)).token_s) == 4


def test_a_token_without_text_is_a_token_where_the_usage_says_so() -> None:
    record = record_of(PLANNED, reply(token(), token(""), token(), token(finish="length"), USAGE, DONE))

    assert len(record.token_s) == 4


def test_a_bare_finish_reason_is_no_token_where_the_usage_says_so() -> None:
    record = record_of(PLANNED, reply(token(), token(), token(), token(), token("", "length"), USAGE, DONE))

    assert record.ok
    assert record.token_s == pytest.approx((0.5, 0.6, 0.7, 0.8))


def test_many_tokens_in_one_event_are_spread() -> None:
    record = record_of(PLANNED, reply(token(" a b c"), token(" d", "length"), USAGE, DONE))

    assert record.ok
    assert record.event_tokens == (2, 2)


@pytest.mark.parametrize("first", [token(""), delta(content="")])
def test_an_event_that_only_opens_the_stream_is_no_token(first: dict[str, Any]) -> None:
    record = record_of(PLANNED, reply(first, token(" a b"), token(" c d", "length"), USAGE, DONE))

    assert record.ttft_s == pytest.approx(0.6)
    assert record.event_tokens == (2, 2)


def test_a_bare_finish_reason_is_no_token_where_events_have_several() -> None:
    record = record_of(PLANNED, reply(token(" a b"), token(" c d"), token("", "length"), USAGE, DONE))

    assert record.token_s == pytest.approx((0.5, 0.6))
    assert record.event_tokens == (2, 2)


def test_a_server_without_usage_is_believed_when_it_says_length() -> None:
    record = record_of(PLANNED, reply(token(" a b"), token(" c d", "length"), DONE))

    assert record.ok
    assert (record.output_tokens, record.event_tokens, record.prompt_tokens) == (4, (2, 2), 7)


@pytest.mark.parametrize(
    ("given_reply", "error"),
    [
        (reply(token(), token(finish="stop"), {**USAGE, "usage": {"completion_tokens": 2}}, DONE), "missing tokens"),
        (reply(token(), token(finish="stop"), DONE), "missing tokens"),
        (reply(token(), {"error": {"message": "EngineCore encountered an issue."}}, DONE), "in-band error"),
        (reply(*TOKENS, USAGE, {"error": {"message": "late"}}, DONE), "in-band error"),
        (reply(token(), "not json"), "bad stream"),
        (reply(token()), "disconnected"),
        (reply(USAGE, DONE), "bad stream"),
        (reply(), "disconnected"),
        (reply(token(), error="timeout"), "timeout"),
        (reply(token(), error="unfinished"), "unfinished"),
        (reply(error="connection refused: nobody there", status=None), "connection refused"),
        (reply("x", status=503), "http 503"),
    ],
)
def test_work_not_done_is_an_error_with_a_short_kind(given_reply: Reply, error: str) -> None:
    record = record_of(PLANNED, given_reply)

    assert record.error is not None
    assert kind_of(record.error) == error


def test_a_server_that_adds_a_null_error_is_fine() -> None:
    assert record_of(PLANNED, reply(*[{**event, "error": None} for event in TOKENS], USAGE, DONE)).ok


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([200, 404, 503]))
def test_no_answer_whatever_breaks_the_reader_or_counts_as_work_done(data: bytes, status: int) -> None:
    assert not record_of(PLANNED, answered([data], status)).ok


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_what_is_no_http_is_no_work_done(data: bytes) -> None:
    assert not record_of(PLANNED, answered([data], None)).ok
