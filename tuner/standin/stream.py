"""The hot path: the tokens of each step as one event and one write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from tuner.standin.events import DONE, Events


class Stream:
    """The body of a streamed answer, on the transport of a response whose head is sent.

    It passes by aiohttp's own writer, which would be most of what a token costs here. `received_ns`, where not None,
    asks for stamps: each event with tokens says when its request was received, when its (last) step ended and when it
    was handed to the socket, in nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
    """

    def __init__(self, transport: asyncio.Transport, chunked: bool, events: Events, received_ns: int | None) -> None:
        self._transport, self._events, self._received_ns = transport, events, received_ns
        self._frame = _chunk if chunked else _bare
        self._come = self._written = 0

    def deliver(self, count: int, produced_s: float) -> None:
        """Write `count` more tokens, which a step brought that ended at `produced_s` of time.monotonic().

        While the socket takes no more they wait, and then go out in one event, as from vLLM: so no client holds up the
        others, and none costs more memory than its answer.
        """
        self._come += count
        whole = self._come == len(self._events)
        if self._transport.get_write_buffer_size() and not whole:
            return
        event = self._events.tokens(self._written, self._come)
        opening = [] if self._written else self._events.opening()
        self._written = self._come
        if self._received_ns is not None:
            event = _stamped(event, self._received_ns, produced_s)
        self._write((*opening, event, *self._events.closing()) if whole else (*opening, event))

    def fail(self, error: bytes) -> None:
        """End with the event of an error."""
        self._write((error, DONE))

    def _write(self, events: Iterable[bytes]) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"".join(map(self._frame, events)))


def _chunk(event: bytes) -> bytes:
    """As a chunk of HTTP/1.1's chunked encoding."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(event) + 8, event)


def _bare(event: bytes) -> bytes:
    """For HTTP/1.0, whose bodies end with the connection."""
    return b"data: %b\n\n" % event


def _stamped(event: bytes, received_ns: int, produced_s: float) -> bytes:
    stamps = (event[:-1], received_ns, int(produced_s * 1e9), time.monotonic_ns())
    return b'%b,"sim":{"received_ns":%d,"produced_ns":%d,"sent_ns":%d}}' % stamps
