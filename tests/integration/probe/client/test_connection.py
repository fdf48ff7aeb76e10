"""Connections of the load process against sockets that answer well, badly or not at all."""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import h11
import pytest

from tuner.core.errors import TunerError
from tuner.core.request import PlannedRequest, RequestRecord
from tuner.probe.client.connection import STAMPED, Answer, Connection, Disconnected
from tuner.probe.client.models import find_model
from tuner.probe.client.response import BadResponse
from tuner.probe.client.server import Refused, Server
from tuner.probe.client.stream import record_of
from tuner.probe.client.wire import Reply

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
PLANNED = PlannedRequest(0, 7, 4)
CERTIFICATE = Path(__file__).with_name("localhost.pem")  # for localhost, by itself, until 2126

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server whose every connection is left to `answer` once a request has come."""
    failed: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await _request(reader):
                await answer(reader, writer)
        except ConnectionError:
            pass
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    try:
        async with Server(f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/completions") as server:
            yield server
    finally:
        listener.close()
    assert not failed


async def _request(reader: asyncio.StreamReader) -> bool:
    try:
        await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return False
    return True


async def ask(server: Server) -> tuple[Answer, Connection]:
    connection = await server.connection()
    answer = Answer()
    try:
        async with asyncio.timeout(10):
            await connection.ask(REQUEST, answer)
    finally:
        server.give_back(connection)
    return answer, connection


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(tokens: int = 4, newline: bytes = b"\n") -> bytes:
    events: list[object] = [
        {"choices": [{"text": " x", "finish_reason": "length" if i == tokens - 1 else None}]} for i in range(tokens)
    ]
    events.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": tokens}})
    texts = [json.dumps(event).encode() for event in events] + [b"[DONE]"]
    return HEAD + b"".join(chunk(b"data: " + text + 2 * newline) for text in texts) + b"0\r\n\r\n"


def record(answer: Answer) -> RequestRecord:
    sizes = [len(part) for part in answer.chunks]
    return record_of(PLANNED, Reply(0, 0.0, 0.0, 1.0, answer.read_s, sizes, b"".join(answer.chunks), None))


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_one_connection_carries_one_answer_after_the_other(newline: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(whole), 29):
            writer.write(whole[start : start + 29])
            await asyncio.sleep(0)

    whole = stream(newline=newline)
    async with serving(answer) as server:
        asked = [await ask(server) for _ in range(3)]

    assert all(record(answer).ok for answer, _ in asked)
    assert len({connection for _, connection in asked}) == 1
    assert all(answer.read_s == sorted(answer.read_s) for answer, _ in asked)


async def test_answers_come_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(whole), 100):
            writer.write(whole[start : start + 100])
            await asyncio.sleep(0.002)

    whole = stream()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with serving(answer, _tls()) as server:
        asked = [await ask(server) for _ in range(2)]

    assert all(record(answer).ok for answer, _ in asked)
    assert len({connection for _, connection in asked}) == 1


async def test_a_certificate_of_nobody_we_know_is_a_refusal() -> None:
    async def answer(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        pytest.fail("there must be no request")

    async with serving(answer, _tls()) as server:
        with pytest.raises(Refused, match="certificate"):
            await ask(server)


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.mark.skipif(not STAMPED, reason="the kernel stamps on Linux only")
async def test_a_late_read_bends_no_time() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent_s.append(time.monotonic())
        writer.write(stream())
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 (neither end of the connection gets to run)

    sent_s: list[float] = []
    async with serving(answer) as server:
        # The kernel begins to stamp some time after it was asked to.
        delays_s = [(await ask(server))[0].read_s[0] - sent_s[-1] for _ in range(3)]

    assert min(delays_s) < 0.15
    assert min(delays_s) >= 0


async def test_an_answer_that_breaks_off_is_a_disconnection_and_the_connection_is_not_used_again() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream()[:-9])
        await writer.drain()
        writer.close()

    async with serving(answer) as server:
        with pytest.raises(Disconnected):
            await ask(server)
        with pytest.raises(Disconnected):
            await ask(server)


async def test_an_answer_may_end_with_its_connection() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\n\r\nlater")
        await writer.drain()
        writer.close()

    async with serving(answer) as server:
        found, connection = await ask(server)

    assert record(found).error == "http 503: later"
    assert not connection.usable


async def test_an_answer_may_end_with_its_connection_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\n\r\nlater")
        await writer.drain()
        writer.close()  # says so in TLS, and leaves the socket open until we have answered
        await asyncio.sleep(1)

    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    began = time.monotonic()
    async with serving(answer, _tls()) as server:
        found, connection = await ask(server)
    assert record(found).error == "http 503: later"
    assert not connection.usable
    assert time.monotonic() - began < 5


async def test_who_is_trusted_under_load_is_trusted_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await asyncio.start_server(
        lambda reader, writer: _once(reader, writer, b'{"data":[{"id":"m"}]}'), "127.0.0.1", 0, ssl=_tls()
    )
    url = f"https://localhost:{listener.sockets[0].getsockname()[1]}"
    try:
        with pytest.raises(TunerError, match="CERTIFICATE_VERIFY_FAILED"):
            await find_model(url, {}, None)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert await find_model(url, {}, None) == "m"
    finally:
        listener.close()


async def _once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    if await _request(reader):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
    writer.close()


async def test_words_that_are_no_http_are_refused() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()

    async with serving(answer) as server:
        with pytest.raises(BadResponse, match="220 mail"):
            await ask(server)


async def test_what_nobody_asked_for_spoils_an_idle_connection() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream())
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    async with serving(answer) as server:
        _, first = await ask(server)
        await asyncio.sleep(0.2)
        answered, second = await ask(server)

    assert second is not first
    assert record(answered).ok


async def test_a_server_learns_at_once_of_a_request_that_is_given_up() -> None:
    left = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        with suppress(ConnectionError):
            await reader.read()
        left.set()

    async with serving(answer) as server:
        task = asyncio.create_task(ask(server))
        await asyncio.sleep(0.1)
        task.cancel()
        async with asyncio.timeout(2):
            await left.wait()


async def test_nobody_listening_is_a_refusal() -> None:
    async with Server("http://127.0.0.1:9/") as server:
        with pytest.raises(Refused, match="Connect"):
            await ask(server)


async def test_a_name_that_does_not_exist_is_a_refusal() -> None:
    async with Server("http://no-such-host.invalid/") as server:
        with pytest.raises(Refused):
            await ask(server)


async def test_ten_thousand_mutated_streams_end_and_none_is_counted_wrongly() -> None:
    found = await asyncio.gather(*(_ask_for_mutated(1000, seed) for seed in range(10)))

    outcomes = Counter(outcome for part in found for outcome in part)
    assert outcomes.total() == 10_000
    assert all(outcomes[kind] > 100 for kind in ("done", "error", "Disconnected", "BadResponse")), outcomes


async def _ask_for_mutated(count: int, seed: int) -> list[str]:
    """How so many mutated streams ended."""
    generator = random.Random(seed)
    sent: list[bytes] = []
    outcomes = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = _mutated(generator)
        sent.append(whole)
        at = generator.randrange(len(whole) + 1)
        writer.write(whole[:at])
        if generator.random() < 0.2:
            await asyncio.sleep(0.002)
        writer.write(whole[at:])
        writer.close()

    async with serving(answer) as server:
        for _ in range(count):
            try:
                found, _connection = await ask(server)
            except (Disconnected, BadResponse) as error:
                outcomes.append(type(error).__name__)
                continue
            seen = record(found)
            outcomes.append("done" if seen.ok else "error")
            if seen.ok:
                assert seen.output_tokens == sum(seen.event_tokens) == 4
            if seen.ok and sent[-1].startswith(HEAD):  # h11 refuses fields with odd names
                assert _reported(sent[-1]) in (4, None)
    return outcomes


def _mutated(generator: random.Random) -> bytes:
    """A good stream with some bytes flipped, lost, doubled or moved."""
    whole = stream(generator.choice([3, 4, 4, 4, 5]), generator.choice([b"\n", b"\r\n"]))
    for _ in range(generator.choice([0, 1, 1, 2, 5])):
        at, size = generator.randrange(len(HEAD) - 30, len(whole)), generator.randrange(1, 30)
        kind = generator.randrange(4)
        if kind == 0:
            whole = whole[:at] + bytes([generator.randrange(256)]) + whole[at + 1 :]
        elif kind == 1:
            whole = whole[:at] + whole[at + size :]
        elif kind == 2:
            whole = whole[: at + size] + whole[at:]
        else:
            to = generator.randrange(len(HEAD), len(whole) + 1)
            piece, whole = whole[at : at + size], whole[:at] + whole[at + size :]
            whole = whole[:to] + piece + whole[to:]
    return whole


def _reported(whole: bytes) -> int | None:
    """The tokens that the stream reports, as a plain reader sees it; None where it reports none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(whole)
    connection.receive_data(b"")
    body = b""
    with suppress(h11.RemoteProtocolError):  # of fields behind the last chunk, which nobody reads
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
    reported = None
    for block in re.split(rb"\n\n+", re.sub(rb"\r\n?", b"\n", body))[:-1]:
        data = b"\n".join(line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:"))
        try:
            reported = json.loads(data)["usage"]["completion_tokens"]
        except (ValueError, TypeError, LookupError):
            continue
    return reported
