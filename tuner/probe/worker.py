"""The load process: sends requests on time and notes when bytes arrive. It parses nothing.

It runs as `python -m tuner.probe.worker`, reads volleys from standard input, writes replies to standard output, and
ends when its input does: it can't outlive the probe. Nothing else runs here, so that nothing bends the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

from tuner.core.request import UNFINISHED
from tuner.probe.wire import CANCELLED, Ended, Message, Reply, Shot, Volley, pack, receive

# Below the 5 s after which common servers close idle connections: a request must not race with that.
_KEEP_ALIVE_S = 2.0
_CONNECT_TIMEOUT_S = 10.0
_PULSE_S = 0.02
_NICENESS = -10


@dataclass
class Level:
    """One volley under way."""

    volley: Volley
    session: aiohttp.ClientSession
    writer: asyncio.StreamWriter
    start: float = 0.0
    sent: int = 0
    lag_s: list[float] = field(default_factory=list)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    over: bool = False
    broken: BaseException | None = None

    def now(self) -> float:
        """Seconds since the level's start."""
        return asyncio.get_running_loop().time() - self.start

    async def run(self) -> None:
        """Send everything, then wait for the last reply or the level's end."""
        self.start = asyncio.get_running_loop().time()
        pulse = asyncio.create_task(self._pulse())
        try:
            async with asyncio.timeout(self.volley.max_s):
                await (self._closed_loop(self.volley.concurrency) if self.volley.concurrency else self._open_loop())
        except TimeoutError:
            self.over = True
        finally:
            pulse.cancel()
            await self._cancel()
        if self.broken is not None:
            raise self.broken

    def ended(self) -> Ended:
        """The level's last message."""
        return Ended(self.now(), self.sent, tuple(self.lag_s))

    async def _open_loop(self) -> None:
        for shot in self.volley.shots:
            assert shot.arrival_s is not None
            delay = shot.arrival_s - self.now()
            if delay > 0:
                await asyncio.sleep(delay)
            self._launch(shot, shot.arrival_s)
        while self.running:
            await asyncio.wait(self.running)

    async def _closed_loop(self, concurrency: int) -> None:
        shots = iter(self.volley.shots)
        async with asyncio.TaskGroup() as clients:
            for _ in range(concurrency):
                clients.create_task(self._client(shots))

    async def _client(self, shots: Iterator[Shot]) -> None:
        for shot in shots:
            # A task of its own, so that the level's end can tell an unfinished request from a client.
            task = self._launch(shot, self.now())
            await asyncio.wait([task])

    def _launch(self, shot: Shot, scheduled_s: float) -> asyncio.Task[None]:
        task = asyncio.create_task(self._send(shot, scheduled_s))
        self.running.add(task)
        task.add_done_callback(self._retire)
        return task

    def _retire(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.broken = task.exception()

    async def _send(self, shot: Shot, scheduled_s: float) -> None:
        sent_s = self.now()
        self.sent += 1
        if shot.arrival_s is not None:
            self.lag_s.append(sent_s - scheduled_s)
        stream = Stream()
        error: str | None = None
        try:
            async with asyncio.timeout(self.volley.timeout_s):
                await self._read(shot, stream)
        except TimeoutError:
            error = "timeout"
        except asyncio.CancelledError:
            error = UNFINISHED if self.over else CANCELLED
        except aiohttp.ClientConnectorError as failed:
            error = f"connection refused: {failed}"
        except (aiohttp.ClientError, ConnectionError) as failed:
            error = f"disconnected: {type(failed).__name__} {failed}"
        data = b"".join(stream.chunks)
        reply = Reply(
            shot.index,
            scheduled_s,
            sent_s,
            self.now(),
            stream.status,
            tuple(stream.read_s),
            tuple(map(len, stream.chunks)),
            data,
            error,
        )
        self.writer.write(pack(reply))

    async def _read(self, shot: Shot, stream: Stream) -> None:
        async with self.session.post(self.volley.url, data=shot.body, headers=self.volley.headers) as response:
            stream.status = response.status
            async for chunk in response.content.iter_any():
                stream.read_s.append(self.now())
                stream.chunks.append(chunk)

    async def _cancel(self) -> None:
        for task in self.running:
            task.cancel()
        while self.running:
            await asyncio.wait(self.running)

    async def _pulse(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _PULSE_S
            await asyncio.sleep(_PULSE_S)
            self.lag_s.append(max(0.0, loop.time() - due))


@dataclass
class Stream:
    """What has arrived of one response."""

    status: int | None = None
    read_s: list[float] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)


async def serve() -> None:
    """Run volleys from standard input until it ends."""
    # On time before the engine that may share this machine, where that is allowed.
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    reader, writer = await _pipes()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        message = await receive(reader)
        while message is not None:
            if isinstance(message, Volley):
                message = await _volley(Level(message, session, writer), reader)
            else:
                message = await receive(reader)


async def _volley(level: Level, reader: asyncio.StreamReader) -> Message | None:
    """Run one level while listening for the order to stop; returns the message that follows it."""
    # Collections of a heap full of time stamps stop the world for milliseconds; there are no cycles to find.
    gc.collect()
    gc.disable()
    orders = asyncio.create_task(receive(reader))
    running = asyncio.create_task(level.run())
    await asyncio.wait({orders, running}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        running.cancel()
        await asyncio.wait({running})
    elif (failure := running.exception()) is not None:
        orders.cancel()
        raise failure
    gc.enable()
    level.writer.write(pack(level.ended()))
    await level.writer.drain()
    return await orders


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
    asyncio.run(serve())
