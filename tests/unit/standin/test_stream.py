"""A streamed answer on a socket: its shape, its stamps, and what happens where the client does not read."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tuner.standin.events import Events
from tuner.standin.protocol import Answer, understand
from tuner.standin.stream import Stream

TOKENS = [" t1", " t22", " t333", " t4444"]
COMPLETION = {"prompt": "a", "max_tokens": 4, "stream": True}
CHAT = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "stream": True}


class Socket(asyncio.Transport):
    """A transport whose peer has left `unread` bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.unread = 0
        self.closing = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        """What the test says."""
        return self.unread

    def is_closing(self) -> bool:
        """What the test says."""
        return self.closing


def stream(socket: Socket, body: dict[str, Any], *, chunked: bool = True, received_ns: int | None = None) -> Stream:
    asked = understand(body, "messages" in body, ["sim"], 100)
    answer = Answer(asked, "cmpl-1", 1700000000, "vllm-1")
    return Stream(socket, chunked, Events(answer, TOKENS, "length", -0.5), received_ns)


def dechunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, data = data.split(b"\r\n", 1)
        body += data[: int(size, 16)]
        assert data[int(size, 16) :].startswith(b"\r\n")
        data = data[int(size, 16) + 2 :]
    return body


def events(*writes: bytes) -> list[Any]:
    texts = dechunked(b"".join(writes)).decode().split("\n\n")
    assert texts.pop() == ""
    assert all(text.startswith("data: ") for text in texts)
    return [text[6:] if text == "data: [DONE]" else json.loads(text[6:]) for text in texts]


def text_of(found: list[Any]) -> str:
    return "".join(event["choices"][0]["text"] for event in found if event != "[DONE]" and event["choices"])


def test_a_completion_is_vllms_to_the_byte() -> None:
    socket = Socket()
    writing = stream(socket, COMPLETION | {"stream_options": {"include_usage": True}}, chunked=False)
    for _ in TOKENS:
        writing.deliver(1, 0.0)

    head = 'data: {"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"sim","choices":['
    choice = '{"index":0,"text":"%s","logprobs":null,"finish_reason":%s,"stop_reason":null,"prompt_token_ids":null,'
    choice += '"token_ids":null}]}\n\n'
    usage = (
        "]" + ',"usage":{"prompt_tokens":2,"total_tokens":6,"completion_tokens":4},"system_fingerprint":"vllm-1"}\n\n'
    )
    reasons = ("null", "null", "null", '"length"')
    expected = [head + choice % pair for pair in zip(TOKENS, reasons, strict=True)]
    expected[-1] += head + usage + "data: [DONE]\n\n"
    assert [write.decode() for write in socket.writes] == expected


def test_a_chat_begins_with_its_role_in_the_write_of_its_first_token() -> None:
    socket = Socket()
    writing = stream(socket, CHAT)
    for _ in TOKENS:
        writing.deliver(1, 0.0)

    role, first = events(socket.writes[0])
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["choices"] == [
        {"index": 0, "delta": {"content": " t1"}, "logprobs": None, "finish_reason": None, "token_ids": None}
    ]
    last, done = events(socket.writes[-1])
    assert last["choices"][0]["finish_reason"] == "length"
    assert done == "[DONE]"
    assert len(socket.writes) == len(TOKENS)


def test_the_tokens_of_a_step_are_one_event() -> None:
    socket = Socket()
    writing = stream(socket, COMPLETION)
    writing.deliver(3, 0.0)
    writing.deliver(1, 0.0)
    assert [text_of(events(write)) for write in socket.writes] == [" t1 t22 t333", " t4444"]


def test_tokens_wait_while_a_client_does_not_read_and_go_out_together() -> None:
    socket = Socket()
    writing = stream(socket, COMPLETION)
    writing.deliver(1, 0.0)
    socket.unread = 1
    writing.deliver(1, 0.0)
    assert len(socket.writes) == 1
    socket.unread = 0
    writing.deliver(1, 0.0)
    assert text_of(events(socket.writes[1])) == " t22 t333"
    socket.unread = 1
    writing.deliver(1, 0.0)  # the last ones are left to the transport: nothing else would send them
    assert text_of(events(*socket.writes)) == "".join(TOKENS)


def test_what_was_never_read_is_kept_as_one_event_only() -> None:
    socket = Socket()
    socket.unread = 1
    writing = stream(socket, CHAT)
    for _ in TOKENS:
        writing.deliver(1, 0.0)
    (write,) = socket.writes
    assert [event["choices"][0]["delta"] for event in events(write)[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "".join(TOKENS)},
    ]


@pytest.mark.parametrize("more", [{}, {"logprobs": 1}, {"stream_options": {"continuous_usage_stats": True}}])
@pytest.mark.parametrize("body", [COMPLETION, CHAT])
def test_stamps_are_one_more_field_of_events_with_tokens_and_nothing_else(
    body: dict[str, Any], more: dict[str, Any]
) -> None:
    plain, stamped = Socket(), Socket()
    ask = body | more | {"stream_options": {"include_usage": True, **more.get("stream_options", {})}}
    without, having = stream(plain, ask), stream(stamped, ask, received_ns=time.monotonic_ns())
    for _ in TOKENS:
        without.deliver(1, 0.0)
        having.deliver(1, time.monotonic())

    before, after = events(*plain.writes), events(*stamped.writes)
    tokens = [event for event in after if "sim" in event]
    for event in tokens:
        stamps = event.pop("sim")
        assert list(stamps) == ["received_ns", "produced_ns", "sent_ns"]
        assert list(stamps.values()) == sorted(stamps.values())
        assert 0 < time.monotonic_ns() - stamps["sent_ns"] < 60e9
    assert len(tokens) == len(TOKENS)
    assert after == before


def test_nothing_is_written_to_a_client_that_has_left() -> None:
    socket = Socket()
    writing = stream(socket, COMPLETION)
    socket.closing = True
    writing.deliver(4, 0.0)
    writing.fail(b"{}")
    assert socket.writes == []
