"""A completions server that sends each token at a set time and notes when: `python stub.py INTERVAL_NS SLOTS LOG`.

It prints its port, serves until its standard input ends, and then writes one JSON line a stream to LOG. Chunks have the
fields and the framing of vLLM's. Times are of CLOCK_MONOTONIC, taken just before the system call that sends: a
transport of asyncio may keep bytes back until its loop has turned, so there is none here. When a request arrived, the
kernel says. Standard library only.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import json
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FIRST_TOKEN_NS = 50_000_000
# So many tokens may leave before requests are looked for: a request waits for its stamp no longer than they take.
_TURN = 16
_DEFAULT_TOKENS = 16
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python does not name it
_STAMP = struct.Struct("qq")  # struct timespec, of the realtime clock
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@dataclass(slots=True)
class Connection:
    """One client's connection, with what is half read and what it has not taken yet."""

    socket: socket.socket
    read: bytes = b""
    untaken: bytes = b""


@dataclass(slots=True)
class Stream:
    """One answer under way: the same chunk for every token but the last."""

    connection: Connection
    names: tuple[str, ...]
    tokens: int
    received_ns: int
    due_ns: int
    chunk: bytes
    last: bytes
    end: bytes
    sent_ns: list[int] = field(default_factory=list)


class Stub:
    """The server. Streams get one of `slots` phases of the interval in turn: 1 slot means that all send at once."""

    def __init__(self, interval_ns: int, slots: int) -> None:
        self._interval_ns = interval_ns
        self._slots = slots
        self._events = select.epoll()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._listening.setblocking(False)
        self._connections: dict[int, Connection] = {}
        # (when due, number, stream): the next token of each stream.
        self._due: list[tuple[int, int, Stream]] = []
        self._streams: list[Stream] = []

    @property
    def port(self) -> int:
        """Where it listens, on the loopback address."""
        port: int = self._listening.getsockname()[1]
        return port

    def serve(self) -> None:
        """Serve until standard input ends."""
        self._events.register(self._listening, select.EPOLLIN)
        self._events.register(0, select.EPOLLIN)
        while True:
            self._send_due()
            # `epoll` waits in whole milliseconds, `select` does not.
            wait_s = max(0, self._due[0][0] - time.monotonic_ns()) / 1e9 if self._due else None
            select.select([self._events], [], [], wait_s)
            for descriptor, event in self._events.poll(0):
                if descriptor == 0:
                    return
                self._handle(descriptor, event)

    def log(self, path: Path) -> None:
        """Write what was sent when."""
        fields = ("names", "received_ns", "due_ns", "sent_ns")
        with path.open("w", encoding="utf-8") as file:
            for stream in self._streams:
                file.write(json.dumps({name: getattr(stream, name) for name in fields}) + "\n")

    def _send_due(self) -> None:
        due = self._due
        for _ in range(_TURN):
            if not due or due[0][0] > time.monotonic_ns():
                return
            when, number, stream = due[0]
            left = stream.tokens - len(stream.sent_ns)
            stream.sent_ns.append(time.monotonic_ns())
            alive = self._send(stream.connection, stream.chunk if left > 1 else stream.last)
            if alive and left > 1:
                heapq.heapreplace(due, (when + self._interval_ns, number, stream))
                continue
            heapq.heappop(due)
            if alive:
                self._send(stream.connection, stream.end)

    def _handle(self, descriptor: int, event: int) -> None:
        if descriptor == self._listening.fileno():
            self._accept()
            return
        connection = self._connections.get(descriptor)
        if connection is None:
            return
        if event & select.EPOLLOUT:
            untaken, connection.untaken = connection.untaken, b""
            self._events.modify(descriptor, select.EPOLLIN)
            self._send(connection, untaken)
        if event & ~select.EPOLLOUT:
            self._read(connection)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted, _ = self._listening.accept()
                accepted.setblocking(False)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                accepted.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                self._connections[accepted.fileno()] = Connection(accepted)
                self._events.register(accepted, select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        try:
            data, ancillary, _, _ = connection.socket.recvmsg(1 << 16, socket.CMSG_SPACE(_STAMP.size))
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.read += data
        received_ns = _arrival_ns(ancillary)
        head, blank, rest = connection.read.partition(b"\r\n\r\n")
        if not blank:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) >= size:
            connection.read = rest[size:]
            self._answer(connection, request, headers, rest[:size], received_ns)

    def _answer(
        self, connection: Connection, request: str, headers: dict[str, str], body: bytes, received_ns: int
    ) -> None:
        method, path, _ = request.split(" ", 2)
        if (method, path) == ("POST", "/v1/completions"):
            self._begin(connection, headers, json.loads(body), received_ns)
        elif path == "/health":
            self._send(connection, _whole("200 OK", b""))
        elif path == "/v1/models":
            models = {"object": "list", "data": [{"id": "stub", "object": "model", "created": 0, "owned_by": "vllm"}]}
            self._send(connection, _whole("200 OK", json.dumps(models).encode()))
        else:
            self._send(connection, _whole("404 Not Found", b'{"detail":"Not Found"}'))

    def _begin(self, connection: Connection, headers: dict[str, str], body: dict[str, Any], received_ns: int) -> None:
        number = len(self._streams)
        answer = f"cmpl-{number:032x}"
        tokens = body.get("max_tokens") or body.get("max_completion_tokens") or _DEFAULT_TOKENS
        prompt = body["prompt"] if isinstance(body["prompt"], str) else body["prompt"][0]
        phase_ns = self._interval_ns * (number % self._slots) // self._slots
        earliest_ns = received_ns + _FIRST_TOKEN_NS
        stream = Stream(
            connection,
            (prompt.split(" ", 1)[0], headers.get("x-request-id", ""), answer),
            tokens,
            received_ns,
            earliest_ns + (phase_ns - earliest_ns) % self._interval_ns,
            *_chunks(answer, body["model"], len(prompt.split()), tokens),
        )
        self._streams.append(stream)
        if self._send(connection, _STREAM_HEAD):
            heapq.heappush(self._due, (stream.due_ns, number, stream))

    def _send(self, connection: Connection, data: bytes) -> bool:
        """Whether the client is still there. What it does not take at once waits for it."""
        if connection.untaken:
            connection.untaken += data
            return True
        try:
            taken = connection.socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._close(connection)
            return False
        if taken < len(data):
            connection.untaken = data[taken:]
            self._events.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        return True

    def _close(self, connection: Connection) -> None:
        if connection.socket.fileno() >= 0:
            del self._connections[connection.socket.fileno()]
            self._events.unregister(connection.socket)
            connection.socket.close()


def _arrival_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the bytes just read arrived: that they were read later is no matter of the client's."""
    now_ns = time.monotonic_ns()
    if not ancillary:
        return now_ns
    seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
    return seconds * 1_000_000_000 + nanoseconds + now_ns - time.time_ns()


def _whole(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nserver: uvicorn\r\ncontent-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n"
    )
    return head.encode() + body


def _chunks(answer: str, model: str, prompt_tokens: int, tokens: int) -> tuple[bytes, bytes, bytes]:
    """The chunk of a token, that of the last one, and what ends the answer."""
    named = {"id": answer, "object": "text_completion", "created": int(time.time()), "model": model}

    def token(finish_reason: str | None) -> bytes:
        choice = {"index": 0, "text": " token", "logprobs": None, "finish_reason": finish_reason, "stop_reason": None}
        return _event({**named, "choices": [{**choice, "prompt_token_ids": None, "token_ids": None}]})

    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens + tokens, "completion_tokens": tokens}
    end = _event({**named, "choices": [], "usage": usage}) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return token(None), token("length"), end


def _event(data: dict[str, Any]) -> bytes:
    return _chunk(b"data: %s\n\n" % json.dumps(data, separators=(",", ":")).encode())


def _chunk(data: bytes) -> bytes:
    # One event, one chunk, one write: that is how uvicorn sends them.
    return b"%x\r\n%s\r\n" % (len(data), data)


def main() -> None:
    """Serve, then write the log."""
    interval_ns, slots, log = sys.argv[1:]
    stub = Stub(int(interval_ns), int(slots))
    print(stub.port, flush=True)
    gc.disable()
    stub.serve()
    stub.log(Path(log))


if __name__ == "__main__":
    main()
