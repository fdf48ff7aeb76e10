"""All load processes of a probe as one: each sends its share of a level, and all replies come as from one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from tuner.core.cause import TrialFailed
from tuner.probe.client.load_process import LoadProcess
from tuner.probe.client.wire import Ended, Go, Message, Reply, Stop, Volley

# What it takes the order to reach them all.
_HEADSTART_S = 0.005


@dataclass
class Fleet:
    """Running load processes. They end by `close`, or by themselves when this process is gone."""

    processes: tuple[LoadProcess, ...]

    @classmethod
    async def start(cls, count: int) -> Fleet:
        """Start `count` processes that wait for volleys."""
        return cls(tuple(await asyncio.gather(*(LoadProcess.start() for _ in range(count)))))

    async def run(self, volley: Volley) -> Run:
        """Begin a level in all processes at once; raises TrialFailed (probe-error) where one is gone."""
        # A client in a closed loop can't be shared.
        count = len(self.processes) if volley.concurrency is None else min(len(self.processes), volley.concurrency)
        used = self.processes[:count]
        await asyncio.gather(*(process.send(volley.share(i, count)) for i, process in enumerate(used)))
        await asyncio.gather(*(process.receive() for process in used))  # Ready
        go = Go(time.monotonic() + _HEADSTART_S)
        await asyncio.gather(*(process.send(go) for process in used))
        return Run(used)

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(process.close() for process in self.processes))

    def kill(self) -> None:
        """End all processes at once."""
        for process in self.processes:
            process.kill()


class Run:
    """One level under way."""

    def __init__(self, processes: tuple[LoadProcess, ...]) -> None:
        self._processes = processes
        self._messages: asyncio.Queue[Message | TrialFailed] = asyncio.Queue()
        self._ended: list[Ended] = []
        self._readers = [asyncio.create_task(self._read(process)) for process in processes]

    async def next(self) -> Reply | Ended:
        """The next reply of any process, or the end of all; raises TrialFailed (probe-error) where one is gone."""
        while True:
            message = await self._messages.get()
            if isinstance(message, TrialFailed):
                raise message
            if isinstance(message, Reply):
                return message
            if isinstance(message, Ended):
                self._ended.append(message)
                if len(self._ended) == len(self._processes):
                    return _merged(self._ended)

    async def stop(self) -> None:
        """Cancel what runs, and end the level."""
        await asyncio.gather(*(process.send(Stop()) for process in self._processes))

    def leave(self) -> None:
        """Listen no longer."""
        for reader in self._readers:
            reader.cancel()

    async def _read(self, process: LoadProcess) -> None:
        message: Message | None = None
        while not isinstance(message, Ended):
            try:
                message = await process.receive()
            except TrialFailed as failed:
                self._messages.put_nowait(failed)
                return
            self._messages.put_nowait(message)


def _merged(ended: list[Ended]) -> Ended:
    return Ended(
        max(one.duration_s for one in ended),
        sum(one.sent for one in ended),
        [late_s for one in ended for late_s in one.late_s],
        [lag_s for one in ended for lag_s in one.lag_s],
    )
