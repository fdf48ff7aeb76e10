"""Connections to one server: made, kept for the next request, and looked at once a millisecond."""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
from time import monotonic, time
from urllib.parse import urlsplit

from tuner.probe.client.connection import Connection
from tuner.probe.client.tls import Tls, trust

# Below the 5 s after which common servers close idle connections: a request must not race with that.
_KEEP_ALIVE_S = 2.0
_CONNECT_TIMEOUT_S = 10.0
_LOOK_S = 0.001
#: This system's limits, which say nothing of the server.
_OWN_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})


class Refused(Exception):
    """No connection could be made."""


class Server:
    """Where requests go. The connection used last is used again, if its idle time is short."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host = parts.hostname
        self._context = trust() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._context else 80)
        self._addresses: list[tuple[int, tuple[str, int]]] = []
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []

    async def __aenter__(self) -> Server:
        self._arrivals = selectors.DefaultSelector()
        self._look()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._next_look.cancel()
        for connection in list(self._connections):
            self._drop(connection)
        self._arrivals.close()

    async def connection(self) -> Connection:
        """A connection that nobody else uses.

        Raises Refused, TimeoutError where none is made in 10 s, and OSError where this system has none left to give.
        """
        while self._idle:
            connection = self._idle.pop()
            connection.read(monotonic() - time())  # the server may have closed it since it was looked at
            if connection.usable and monotonic() - connection.idle_since_s < _KEEP_ALIVE_S:
                return connection
            self._drop(connection)
        connection = await self._connect()
        self._connections.add(connection)
        self._arrivals.register(connection, selectors.EVENT_READ, connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request where it can carry one, else close it."""
        if connection.usable:
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._arrivals.unregister(connection)
            connection.close()

    def _look(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        ahead_s = monotonic() - time()
        for key, _ in self._arrivals.select(0):
            connection: Connection = key.data
            connection.read(ahead_s)
            if connection.idle and not connection.usable:
                self._drop(connection)

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                addresses = await self._resolved()
        except OSError as error:
            raise Refused(str(error)) from None
        refused: OSError | None = None
        for family, address in addresses:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S / len(addresses)):
                    return await self._connected(family, address)
            except OSError as error:  # a TimeoutError is one
                if error.errno in _OWN_FAULT:
                    raise
                refused = error
        if isinstance(refused, TimeoutError):
            raise refused
        raise Refused(str(refused))

    async def _connected(self, family: int, address: tuple[str, int]) -> Connection:
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connected, address)
            if self._context is None:
                return Connection(connected)
            tls = Tls(self._context, self._host)
            await tls.handshake(connected)
            return Connection(connected, tls)
        except BaseException:
            connected.close()
            raise

    async def _resolved(self) -> list[tuple[int, tuple[str, int]]]:
        """The server's addresses, asked for once: a name server is no part of what is measured."""
        if not self._addresses:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses = [(info[0], info[4]) for info in found]  # type: ignore[misc]
        return self._addresses
