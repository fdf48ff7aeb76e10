"""The hot path: connections on which answers stream in, each read with its time. Nothing of them is parsed here.

The kernel stamps what arrives (SO_TIMESTAMPNS), so a read may come later than the bytes did: all connections are looked
at once a millisecond, which costs less than to wake up for each token, and no delay of this process bends a time. Bytes
of one answer that arrive within the same millisecond share the time of the last of them. Where there are no stamps
(outside Linux), the time of the read counts.

A read costs one call, two appends and a look at its last bytes. What an answer says is read after it has ended, by
another process; here it matters only where it ends, and a chunked body can end only in a read that ends like one.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from time import monotonic

from tuner.probe.client.response import BadResponse, Response
from tuner.probe.client.tls import Tls

#: Whether the kernel says when bytes arrived, so that a late read bends no time.
STAMPED = sys.platform == "linux"
_MOST_BYTES = 1 << 14
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python does not name it
_STAMP = struct.Struct("qq")  # struct timespec, of the system's realtime clock
_ANCILLARY = socket.CMSG_SPACE(_STAMP.size)
_ENDS = b"\r\n\r\n"


class Disconnected(Exception):
    """The connection ended before the answer did."""


class Answer:
    """What has arrived of one answer: `chunks[i]` came at `read_s[i]`, in seconds of the system's monotonic clock."""

    __slots__ = ("chunks", "read_s")

    def __init__(self) -> None:
        self.read_s: list[float] = []
        self.chunks: list[bytes] = []


class Connection:
    """One connection, for one request at a time. Whoever owns it calls `read` when there is something to read."""

    def __init__(self, connected: socket.socket, tls: Tls | None = None) -> None:
        self.usable = True
        self.idle_since_s = 0.0
        self._socket = connected
        self._tls = tls
        self._answer = Answer()
        self._response = Response()
        self._scanned = 0
        self._ended: asyncio.Future[None] | None = None
        if STAMPED:
            connected.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def fileno(self) -> int:
        """The socket's number; -1 once it is closed."""
        return self._socket.fileno()

    async def ask(self, request: bytes, answer: Answer) -> None:
        """Send a request, and fill `answer` until its end.

        Raises Disconnected and BadResponse. After an answer that did not end, the connection is of no use.
        """
        self._answer, self._response, self._scanned = answer, Response(), 0
        self._ended = asyncio.get_running_loop().create_future()
        try:
            await self._send(request if self._tls is None else self._tls.encrypted(request))
            await self._ended
        finally:
            self._ended = None
            self.usable = self.usable and self._response.complete and self._response.reusable
            self.idle_since_s = monotonic()

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return self._ended is None

    def close(self) -> None:
        """Give the connection up at once, by which a server knows that an answer is no longer wanted."""
        self.usable = False
        self._socket.close()

    def read(self, ahead_s: float) -> None:
        """Take what has arrived; the monotonic clock is `ahead_s` ahead of the realtime clock."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_MOST_BYTES, _ANCILLARY)
            if self._tls is not None and data:
                data = self._tls.decrypted(data)
                if not data and not self._tls.over:
                    return
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if not data:
            self._lost(None)
            return
        answer = self._answer
        answer.read_s.append(_time_of(ancillary[0][2], ahead_s) if ancillary else monotonic())
        answer.chunks.append(data)
        # The end may come in two reads, of which the last is short.
        if not self._response.chunked or data.endswith(_ENDS) or len(data) < len(_ENDS):
            self._scan()
        if self._tls is not None and self._tls.over:
            self._lost(None)

    async def _send(self, data: bytes) -> None:
        try:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                await asyncio.get_running_loop().sock_sendall(self._socket, data[sent:])
        except OSError as error:
            raise Disconnected(str(error)) from None

    def _lost(self, error: OSError | None) -> None:
        asked = self._ended
        if asked is not None and not asked.done():
            self._scan()
            self._response.end()
            if not asked.done():
                lost = Disconnected(str(error) if error else "the server closed the connection before the answer's end")
                self._finish(None if self._response.complete else lost)
        self.usable = False

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
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        assert self._ended is not None
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def _time_of(stamp: bytes, ahead_s: float) -> float:
    seconds, nanoseconds = _STAMP.unpack(stamp)
    return float(seconds + nanoseconds * 1e-9 + ahead_s)
