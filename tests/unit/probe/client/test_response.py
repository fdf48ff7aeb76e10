from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.probe.client.response import BadResponse, Response

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CUTS = st.lists(st.integers(min_value=0), max_size=12)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(stream) + 1) for at in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def read(parts: list[bytes], closed: bool = False) -> tuple[Response, bytes]:
    response = Response()
    body = b"".join(response.feed(part) for part in parts if part)
    if closed:
        response.end()
    return response, body


def chunked(bodies: list[bytes], *, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    chunks = [b"%x%s\r\n%s\r\n" % (len(body), extension, body) for body in bodies if body]
    return CHUNKED + b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


@given(
    st.lists(st.binary(max_size=40), max_size=6),
    CUTS,
    st.sampled_from([b"", b";a=b"]),
    st.sampled_from([b"", b"X: y\r\n"]),
)
def test_a_chunked_body_is_read_wherever_it_is_split(
    bodies: list[bytes], cuts: list[int], extension: bytes, trailer: bytes
) -> None:
    response, body = read(cut(chunked(bodies, extension=extension, trailer=trailer), cuts))

    assert body == b"".join(bodies)
    assert (response.status, response.complete, response.reusable, response.chunked) == (200, True, True, True)


@given(st.binary(max_size=80), CUTS)
def test_a_body_of_known_length_ends_there(body: bytes, cuts: list[int]) -> None:
    stream = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    response, found = read(cut(stream, cuts))

    assert (found, response.status, response.complete, response.reusable) == (body, 400, True, True)


@given(st.binary(max_size=80), CUTS)
def test_a_body_of_unknown_length_ends_with_the_connection(body: bytes, cuts: list[int]) -> None:
    parts = cut(b"HTTP/1.1 200 OK\r\n\r\n" + body, cuts)

    assert not read(parts)[0].complete
    response, found = read(parts, closed=True)
    assert (found, response.complete, response.reusable) == (body, True, False)


@pytest.mark.parametrize("left_out", range(1, 20))
def test_a_chunked_body_that_breaks_off_is_never_complete(left_out: int) -> None:
    response, _ = read([chunked([b"data: one\n\n", b"data: two\n\n"])[:-left_out]], closed=True)

    assert not response.complete


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200\r\n", True),
    ],
)
def test_a_connection_is_kept_only_where_the_server_keeps_it(head: bytes, reusable: bool) -> None:
    response, _ = read([head + b"Content-Length: 2\r\n\r\nok"])

    assert response.complete
    assert response.reusable is reusable


def test_what_follows_the_answer_spoils_the_connection() -> None:
    response, body = read([chunked([b"a"]) + b"HTTP/1.1 200 OK\r\n\r\n"])

    assert (body, response.complete, response.reusable) == (b"a", True, False)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    response, body = read([b"HTTP/1.1 %d x\r\nContent-Length: 9\r\n\r\n" % status])

    assert (body, response.complete) == (b"", True)


def test_interim_answers_are_skipped() -> None:
    response, body = read([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n" + chunked([b"a"])])

    assert (response.status, body, response.complete) == (200, b"a", True)


@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        CHUNKED + b"-5\r\nabcde\r\n",
        CHUNKED + b"0x5\r\nabcde\r\n",
        CHUNKED + b"5\r\nabcdefgh\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
    ],
)
def test_what_is_no_answer_is_refused(stream: bytes) -> None:
    with pytest.raises(BadResponse):
        read([stream])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.binary(max_size=30), max_size=4),
    st.lists(st.tuples(st.integers(min_value=0), st.binary(max_size=3)), max_size=3),
    CUTS,
)
def test_mutated_answers_break_nothing_and_never_say_more_than_h11(
    bodies: list[bytes], mutations: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = chunked(bodies)
    for at, replacement in mutations:
        at %= len(stream)
        stream = stream[:at] + replacement + stream[at + 1 :]
    whole = _outcome([stream])

    assert _outcome(cut(stream, cuts)) == whole
    oracle = _by_h11(stream) if stream.startswith(CHUNKED) else None  # h11 reads heads whose lines end by LF alone
    if oracle is not None and whole is not None:
        assert whole == oracle


def _outcome(parts: list[bytes]) -> tuple[int | None, bytes] | None:
    """Status and body of a complete answer; None for anything else."""
    try:
        response, body = read(parts, closed=True)
    except BadResponse:
        return None
    return (response.status, body) if response.complete else None


def _by_h11(stream: bytes) -> tuple[int | None, bytes] | None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    status, body = None, b""
    try:
        connection.receive_data(stream)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None
