"""Whole studies in this process, on a simulated target whose starts can be made to go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.store import Store, TrialKind, TrialRecord
from tuner.study.place import Place
from tuner.study.progress import Event
from tuner.study.session import Ending, Session
from tuner.study.spec import StudySpec, load_spec
from tuner.targets.simulated import SimulatedTarget
from tuner.targets.target import Progress, Running

# A closed loop of short requests: the quickest study, and one that FEW slots serve badly, so that it has a winner.
FEW = Candidate.of(max_num_seqs=16)
OPTIONS: dict[str, Any] = {
    "simulated": "h100/llama-3.1-8b",
    "objective": "throughput",
    "concurrency": 64,
    "prompt_tokens": 256,
    "output_tokens": 32,
    "starts": 7,
    "pairs": 2,
}

#: What happens before a start, by its number (the first is 1).
Before = Callable[[int], Awaitable[None]]


class Killed(BaseException):
    """The process is gone: nothing of it is on record any more."""


async def nothing(_: int) -> None:
    """All goes well."""


def failing(cause: Cause, *starts: int) -> Before:
    """These starts fail of `cause`."""

    async def before(start: int) -> None:
        if start in starts:
            raise TrialFailed(Failure(cause, f"start {start} was made to fail"))

    return before


class Target(SimulatedTarget):
    """A simulated target to which things happen before a start; it counts what is asked of it."""

    def __init__(self, before: Before = nothing, uid: str = "", image: str = "") -> None:
        super().__init__(MODELS["Llama-3.1-8B"], GPUS["H100"], baseline=FEW)
        self.before, self.uid, self.image = before, uid, image
        self.deadlines: list[float] = []
        self.restored = self.released = 0
        self.slow_s = 0.0  # how much longer a start takes
        self.taken = asyncio.Event()  # set: somebody else has the right to it

    async def inspect(self) -> TargetInfo:
        info = await super().inspect()
        return replace(info, uid=self.uid, image=self.image or info.image)

    async def lost(self) -> str:
        await self.taken.wait()
        return "the lease was taken over by another"

    async def apply(self, candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        self.deadlines.append(deadline_s)
        await self.before(len(self.deadlines))
        if self.slow_s:
            self._pass(self.slow_s, deadline_s)
        return await super().apply(candidate, deadline_s, progress)

    async def restore(self) -> None:
        self.restored += 1
        await super().restore()

    async def release(self) -> None:
        self.released += 1
        await super().release()


@dataclass
class Studies:
    """One database, and the studies that run in it: the same command again goes on with the last one."""

    folder: Path
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.folder / 't.db'}"
        self.store = Store.open(self.url)

    def spec(self, **options: Any) -> StudySpec:
        return load_spec(None, {**OPTIONS, **options}, default_storage=self.url)

    def session(self, target: Target, **options: Any) -> Session:
        spec = self.spec(**options)
        name = "simulated/Llama-3.1-8B-H100"
        return Session(spec, self.store, Place(target, self.store.resumable(name, spec.fingerprint), live=False))

    async def run(self, target: Target, claim_s: float = 60.0, **options: Any) -> Ending:
        session = self.session(target, **options)
        session.claim = replace(session.claim, lasts_s=claim_s)
        return await session.run(await session.look(), self.events.append)

    async def killed(self, start: int, **options: Any) -> None:
        """Run a study that is killed at its `start`th start."""

        async def die(number: int) -> None:
            if number == start:
                raise Killed

        try:
            await self.run(Target(die), **options)
        except Killed:
            return
        raise AssertionError(f"the study ended before start {start}")

    def trials(self, kind: TrialKind | None = None, study: int = -1) -> list[TrialRecord]:
        trials = self.store.trials(self.store.studies()[study].id)
        return [trial for trial in trials if kind in (None, trial.kind)]


async def slowly(_: int) -> None:
    """Starts that take a moment of real time."""
    await asyncio.sleep(0.2)
