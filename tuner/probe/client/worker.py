"""The load process: sends requests on time and notes when bytes arrive. It parses nothing.

It runs as `python -m tuner.probe.client.worker`, reads volleys from standard input, writes replies to standard output,
and ends when its input does: it can't outlive the probe. Nothing else runs here, so that nothing bends the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import uvloop

from tuner.core.request import UNFINISHED
from tuner.probe.client.connection import Answer, Disconnected
from tuner.probe.client.response import BadResponse
from tuner.probe.client.server import Refused, Server
from tuner.probe.client.wire import CANCELLED, Ended, Go, Message, Ready, Reply, Shot, Volley, pack, receive

_PULSE_S = 0.02
_NICENESS = -10
# As many open files as are enough, and where a system has not so many, as most have.
_FILES = (1 << 17, 1 << 13)
# An engine that breaks under a request takes longer than a socket that says that nobody is there any more.
_AT_ONCE_S = 0.05
# The loop's own timers wake up by whole milliseconds; what is left until a request is due, it turns without sleeping.
_GRAIN_S = 0.0015


@dataclass
class Level:
    """One volley under way. Its times are seconds since `start_s`."""

    volley: Volley
    writer: asyncio.StreamWriter
    start_s: float = 0.0
    sent: int = 0
    late_s: array[float] = field(default_factory=lambda: array("d"))
    lag_s: array[float] = field(default_factory=lambda: array("d"))
    running: set[asyncio.Task[None]] = field(default_factory=set)
    over: bool = False
    broken: BaseException | None = None

    def __post_init__(self) -> None:
        head = _head(self.volley)
        self._requests = {
            shot.index: b"%s%d\r\n\r\n%s" % (head, len(shot.body), shot.body) for shot in self.volley.shots
        }
        # When requests ended that another one waits for.
        self._ends: dict[int, asyncio.Future[float]] = {
            shot.after: asyncio.get_running_loop().create_future()
            for shot in self.volley.shots
            if shot.after is not None
        }

    def now(self) -> float:
        """Seconds since the level's start."""
        return monotonic() - self.start_s

    async def run(self) -> None:
        """Send everything, then wait for the last reply or the level's end."""
        await self._until(0.0)
        async with Server(self.volley.url) as server:
            await self._send_all(server)
        if self.broken is not None:
            raise self.broken

    def ended(self) -> Ended:
        """The level's last message."""
        return Ended(max(0.0, self.now()), self.sent, self.late_s, self.lag_s)

    async def _until(self, due_s: float) -> None:
        while (left := due_s - self.now()) > 0:  # noqa: ASYNC110 (there is nothing to wait for but the clock)
            await asyncio.sleep(max(0.0, left - _GRAIN_S))

    async def _send_all(self, server: Server) -> None:
        self._server = server
        pulse = asyncio.create_task(self._pulse())
        try:
            async with asyncio.timeout(self.volley.max_s):
                if self.volley.concurrency is None:
                    await self._open_loop()
                else:
                    await self._closed_loop(self.volley.concurrency)
        except TimeoutError:
            self.over = True
        finally:
            pulse.cancel()
            await self._cancel()

    async def _open_loop(self) -> None:
        for shot in self.volley.shots:
            assert shot.arrival_s is not None
            await self._until(shot.arrival_s)
            self._launch(shot, shot.arrival_s)
        while self.running:
            await asyncio.wait(self.running)

    async def _closed_loop(self, concurrency: int) -> None:
        conversations = iter(self.volley.conversations())
        async with asyncio.TaskGroup() as clients:
            for _ in range(concurrency):
                clients.create_task(self._client(conversations))

    async def _client(self, conversations: Iterator[Sequence[Shot]]) -> None:
        for shot in chain.from_iterable(conversations):
            # A task of its own, so that the level's end can tell an unfinished request from a client.
            task = self._launch(shot, self.now())
            await asyncio.wait([task])

    def _launch(self, shot: Shot, scheduled_s: float) -> asyncio.Task[None]:
        task = asyncio.create_task(self._take(shot, scheduled_s))
        self.running.add(task)
        task.add_done_callback(self._retire)
        return task

    def _retire(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.broken = task.exception()

    async def _take(self, shot: Shot, scheduled_s: float) -> None:
        """Send a request at its time, or when its conversation is ready for it."""
        if shot.after is not None:
            scheduled_s = max(scheduled_s, await self._ends[shot.after] + shot.think_s)
            await self._until(scheduled_s)
        await self._send(shot, scheduled_s)
        end = self._ends.get(shot.index)
        if end is not None and not end.done():  # the level's end cancels those that wait for it
            end.set_result(self.now())

    async def _send(self, shot: Shot, scheduled_s: float) -> None:
        sent_s = self.now()
        self.sent += 1
        if shot.arrival_s is not None:
            self.late_s.append(sent_s - scheduled_s)
        answer = Answer()
        error: str | None = None
        try:
            async with asyncio.timeout(self.volley.timeout_s):
                await self._ask(self._requests.pop(shot.index), answer)
        except TimeoutError:
            error = "timeout"
        except asyncio.CancelledError:
            error = UNFINISHED if self.over else CANCELLED
        except Refused as refused:
            error = f"connection refused: {refused}"
        except Disconnected as lost:
            error = f"disconnected: {lost}"
        except BadResponse as bad:
            error = f"bad stream: {bad}"
        reply = Reply(
            shot.index,
            scheduled_s,
            sent_s,
            self.now(),
            array("d", [read_s - self.start_s for read_s in answer.read_s]),
            array("L", map(len, answer.chunks)),
            b"".join(answer.chunks),
            error,
        )
        self.writer.write(pack(reply))

    async def _ask(self, request: bytes, answer: Answer) -> None:
        """Ask; again where a connection that was kept proves to have been closed by the server in the meantime."""
        while True:
            connection = await self._server.connection()
            kept, began_s = connection.idle_since_s > 0, monotonic()
            try:
                return await connection.ask(request, answer)
            except Disconnected:
                if not kept or answer.chunks or monotonic() - began_s > _AT_ONCE_S:
                    raise
            finally:
                self._server.give_back(connection)

    async def _cancel(self) -> None:
        for task in self.running:
            task.cancel()
        while self.running:
            await asyncio.wait(self.running)

    async def _pulse(self) -> None:
        """Note how late this loop is."""
        while True:
            due = monotonic() + _PULSE_S
            await asyncio.sleep(_PULSE_S)
            self.lag_s.append(max(0.0, monotonic() - due))


def _head(volley: Volley) -> bytes:
    """What all requests begin with, up to the number of bytes of their bodies."""
    parts = urlsplit(volley.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    named = any(name.lower() == "host" for name in volley.headers)
    fields = volley.headers if named else {"Host": host, **volley.headers}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "Content-Length: "]
    return "\r\n".join(lines).encode("latin-1")


def _open_many() -> None:
    """Each client has a connection, and the usual limit of open files is far below what is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for enough in _FILES:
        wanted = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def _hurry() -> None:
    """Be on time before the engine that may share this machine, where that is allowed.

    Where Linux groups processes by session (sched(7), autogroup), niceness counts within a session only.
    """
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
        Path("/proc/self/autogroup").write_text(str(_NICENESS))


async def serve() -> None:
    """Run volleys from standard input until it ends."""
    _hurry()
    _open_many()
    reader, writer = await _pipes()
    message = await receive(reader)
    while message is not None:
        if isinstance(message, Volley):
            message = await _volley(Level(message, writer), reader)
        else:
            message = await receive(reader)


async def _volley(level: Level, reader: asyncio.StreamReader) -> Message | None:
    """Run one level while listening for the order to stop; returns the message that follows it."""
    level.writer.write(pack(Ready()))
    order = await receive(reader)
    if not isinstance(order, Go):
        return order
    level.start_s = order.start_s
    with _no_collections():
        orders = asyncio.create_task(receive(reader))
        running = asyncio.create_task(level.run())
        await asyncio.wait({orders, running}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
            await asyncio.wait({running})
        elif (failure := running.exception()) is not None:
            orders.cancel()
            raise failure
    level.writer.write(pack(level.ended()))
    await level.writer.drain()
    return await orders


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Collections of a heap full of time stamps stop the world for milliseconds; there are no cycles to find."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _pipes() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    # Anything that prints must not get between the messages.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, output)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


if __name__ == "__main__":
    uvloop.run(serve())
