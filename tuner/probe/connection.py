"""The hot path: connections on which answers stream in, each read with its time. Nothing of them is parsed here.

A read costs one time stamp, two appends and a look at its last bytes. What an answer says is read after it has ended,
by another process; here it matters only where it ends, and a chunked body can end only in a read that ends like one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

from tuner.probe.response import BadResponse, Response

# Below the 5 s after which common servers close idle connections: a request must not race with that.
_KEEP_ALIVE_S = 2.0
_CONNECT_TIMEOUT_S = 10.0
_ENDS = b"\r\n\r\n"


class Refused(Exception):
    """No connection could be made."""


class Disconnected(Exception):
    """The connection ended before the answer did."""


class Answer:
    """What has arrived of one answer: `chunks[i]` came at `read_s[i]`, in seconds of the system's monotonic clock."""

    __slots__ = ("chunks", "read_s")

    def __init__(self) -> None:
        self.read_s: list[float] = []
        self.chunks: list[bytes] = []


class Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self.usable = True
        self.idle_since_s = 0.0
        self._answer = Answer()
        self._response = Response()
        self._scanned = 0
        self._ended: asyncio.Future[None] | None = None

    async def ask(self, request: bytes, answer: Answer) -> None:
        """Send a request, and fill `answer` until its end.

        Raises Disconnected and BadResponse; cancelled, it gives the connection up, by which a server knows.
        """
        self._answer, self._response, self._scanned = answer, Response(), 0
        self._ended = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._ended
        finally:
            self._ended = None
            self.usable = self.usable and self._response.complete and self._response.reusable
            self.idle_since_s = monotonic()
            if not self.usable:
                self.close()

    def close(self) -> None:
        """Give the connection up at once."""
        self.usable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """(asyncio.Protocol)"""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        """(asyncio.Protocol)"""
        answer = self._answer
        answer.read_s.append(monotonic())
        answer.chunks.append(data)
        # The end may come in two reads, of which the last is short.
        if not self._response.chunked or data.endswith(_ENDS) or len(data) < len(_ENDS):
            self._scan()

    def connection_lost(self, exc: Exception | None) -> None:
        """(asyncio.Protocol)"""
        self.usable = False
        if self._ended is None or self._ended.done():
            return
        self._scan()
        self._response.end()
        if self._response.complete:
            self._finish()
        else:
            self._finish(Disconnected(str(exc) if exc else "the server closed the connection before the answer's end"))

    def _scan(self) -> None:
        """Look whether the answer is complete, in what has not been looked at yet."""
        if self._ended is None or self._ended.done():
            self.usable = False  # nobody asked for this
            return
        new = self._answer.chunks[self._scanned :]
        self._scanned += len(new)
        try:
            self._response.feed(b"".join(new))
        except BadResponse as bad:
            self._finish(bad)
            return
        if self._response.complete:
            self._finish()

    def _finish(self, error: Exception | None = None) -> None:
        assert self._ended is not None
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


class Server:
    """Connections to one server: the one used last is used again, if its idle time is short."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._addresses: list[str] = []
        self._idle: list[Connection] = []

    async def connection(self) -> Connection:
        """A connection that nobody else uses. Raises Refused, and TimeoutError where none is made in 10 s."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and monotonic() - connection.idle_since_s < _KEEP_ALIVE_S:
                return connection
            connection.close()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            return await self._connect()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, where it can carry one."""
        if connection.usable:
            self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()
        self._addresses = []

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        name = self._host if self._tls else None
        refused: OSError | None = None
        try:
            for address in await self._resolved():
                try:
                    _, connection = await loop.create_connection(
                        Connection, address, self._port, ssl=self._tls, server_hostname=name
                    )
                except OSError as error:
                    refused = error
                else:
                    return connection
        except OSError as error:
            refused = error
        raise Refused(str(refused))

    async def _resolved(self) -> list[str]:
        """The server's addresses, asked for once: a name server is no part of what is measured."""
        if not self._addresses:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        return self._addresses
