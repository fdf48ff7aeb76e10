"""The simulated scheduler in real time: each step takes as long as it would, and then its tokens go out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from tuner.simulator.scheduler import Scheduler, SimRequest
from tuner.standin.console import CORE, SERVER, Console
from tuner.standin.machine import Machine
from tuner.standin.text import block_hashes

#: How far the engine may be behind its own clock before it gives up catching up, in seconds.
_SLACK_S = 0.05

#: Takes a request's tokens: how many a step brought, and when the step ended, in seconds on the engine's clock.
Deliver = Callable[[int, float], None]


class EngineDead(Exception):
    """The engine died; nothing is served any more."""


@dataclass(slots=True, eq=False)
class _Client:
    """Who waits for the `left` tokens of a request; `ended` is done with the last of them, or when the engine dies."""

    deliver: Deliver
    left: int
    ended: asyncio.Future[None]

    def end(self) -> None:
        if not self.ended.done():  # it is, where the client has just given up
            self.ended.set_result(None)


class Engine:
    """One running engine. `clock` gives seconds that only grow."""

    def __init__(self, machine: Machine, console: Console, clock: Callable[[], float]) -> None:
        self.machine = machine
        self.scheduler: Scheduler = machine.scheduler()
        self.dead = asyncio.Event()
        self._console, self._clock = console, clock
        self._noise = machine.noise()
        self._clients: dict[int, _Client] = {}
        self._arrived = asyncio.Event()
        self._at_front_end = 0
        self._front_end_free_s = 0.0
        self._serial = 0
        self._late_told = False

    @property
    def running(self) -> int:
        """Requests that the scheduler runs."""
        return len(self.scheduler.running)

    @property
    def waiting(self) -> int:
        """Requests that wait, in the scheduler or still at the front end."""
        return len(self.scheduler.waiting) + self._at_front_end

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """Whether a request could ever be served."""
        return self.scheduler.fits(SimRequest(0, prompt_tokens, output_tokens))

    async def serve(self, tokens: Sequence[Hashable], output_tokens: int, deliver: Deliver) -> None:
        """Serve one request: call `deliver` with the tokens of each step, `output_tokens` in sum, as the step ends.

        `deliver` holds up all other clients, and must not raise. Raises EngineDead; may be cancelled at any time.
        """
        self._serial += 1
        number = self._serial
        client = _Client(deliver, output_tokens, asyncio.get_running_loop().create_future())
        self._clients[number] = client
        try:
            await self._pass_front_end(len(tokens))
            self._must_live()
            hashes = block_hashes(tokens, self.machine.settings.block_size)
            self.scheduler.add(SimRequest(number, len(tokens), output_tokens, hashes))
            self._arrived.set()
            await client.ended
            if client.left:
                raise EngineDead
        finally:
            del self._clients[number]
            if client.left:
                self.scheduler.cancel(number)

    async def run(self) -> None:
        """Step until the engine dies. Cancel to stop it."""
        due = self._clock()
        while True:
            if self.scheduler.idle:
                self._arrived.clear()
                await self._arrived.wait()
                due = self._clock()
            if not await self._stands():
                return
            began = self._clock()
            outcome = self.scheduler.step()
            due += self._noise.apply([outcome.duration_s])[0] / self.machine.speed
            # Sleeping for nothing lets clients in, also when steps are shorter than what they cost here.
            await asyncio.sleep(max(0.0, due - self._clock()))
            due = self._on_time(due)
            self._deliver(outcome.tokens, max(began, due))  # also a late step ends after it began

    def die(self, *last_words: str) -> None:
        """The engine process ends; the server sees it and follows."""
        if last_words:
            self._console.error(CORE, "core.py:1520", ["EngineCore encountered a fatal error.", *last_words])
        gone = "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup"
        self._console.error(SERVER, "core_client.py:700", [gone])
        self._console.error(
            SERVER,
            "async_llm.py:700",
            [
                "AsyncLLM output_handler failed.",
                "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) "
                "for the root cause.",
            ],
        )
        self.dead.set()
        for client in self._clients.values():
            client.end()

    def _deliver(self, tokens: Iterable[tuple[int, int]], produced_s: float) -> None:
        for number, count in tokens:
            client = self._clients.get(number)
            if client is None:
                continue  # gone since the step began
            client.left -= count
            client.deliver(count, produced_s)
            if not client.left:
                client.end()

    async def _stands(self) -> bool:
        """Whether the engine survives what it is about to run; some failures wait for a crowd."""
        options, limit = self.machine.options, self.machine.breaks_at
        crowd = min(len(self.scheduler.running) + len(self.scheduler.waiting), self.machine.settings.max_num_seqs)
        if options.fail.endswith("-under-load") and crowd >= options.fail_at:
            if options.fail == "hang-under-load":
                await asyncio.Event().wait()
            self.die(*(_OUT_OF_MEMORY if options.fail == "oom-under-load" else ()))
            return False
        if limit is not None and len(self.scheduler.running) >= limit:
            self.die(*_OUT_OF_MEMORY)
            return False
        return True

    async def _pass_front_end(self, prompt_tokens: int) -> None:
        """Tokenising: one request at a time."""
        cost = self.scheduler.cost.admission_s(prompt_tokens) / self.machine.speed
        self._front_end_free_s = max(self._clock(), self._front_end_free_s) + cost
        self._at_front_end += 1
        try:
            await asyncio.sleep(self._front_end_free_s - self._clock())
        finally:
            self._at_front_end -= 1

    def _must_live(self) -> None:
        if self.dead.is_set():
            raise EngineDead

    def _on_time(self, due: float) -> float:
        """`due`, or now where the engine is so late that running after the clock would make a burst."""
        late = self._clock() - due
        if late <= _SLACK_S:
            return due
        if not self._late_told:
            self._late_told = True
            text = f"this machine is too slow for the simulated engine ({late * 1e3:.0f} ms late); a lower speed helps"
            self._console.info(SERVER, "standin:1", text)
        return due + late


_OUT_OF_MEMORY = (
    "Traceback (most recent call last):",
    '  File "vllm/v1/worker/gpu_model_runner.py", line 1, in execute_model',
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 79.19 GiB "
    "of which 101.00 MiB is free.",
)
