"""The contract between the trial loop and a place where engines run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tuner.core.cause import Failure
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.request import Driver
from tuner.core.target import TargetInfo

#: Told of progress inside a rollout: one short phrase each ("pod scheduled", "loading model").
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """An engine that is ready and was seen to run the candidate.

    Exactly one of `endpoint` (a base URL that the HTTP probe drives) and `driver` (the target drives itself) is set.
    `start_s` is the time from the change to ready, which is what a start costs in GPU time.
    """

    model: str
    facts: EngineFacts
    start_s: float
    endpoint: str | None = None
    driver: Driver | None = None


class Target(Protocol):
    """One engine whose settings can be changed and put back.

    Life: `inspect` (changes nothing) -> `acquire` -> (`apply` -> measure)* -> `restore` -> `release`. `restore` may be
    called at any time after `acquire`, any number of times, and leaves the target exactly as `inspect` found it; it
    must succeed from what is stored at the target alone. All methods raise Refused or InvalidInput with the reason.
    """

    def now(self) -> float:
        """Seconds by the target's own clock: monotonic wall time for real targets, simulated time for the simulator.

        Starts and probes are charged to the budget by differences of this clock.
        """
        ...

    async def inspect(self) -> TargetInfo:
        """Look without changing anything. Raises Refused where the target can't be tuned safely."""
        ...

    async def traffic(self) -> str:
        """What the engine serves now, though no study loads it ("3.3 requests/s, 2 running"); takes a few seconds.

        Empty where there is nothing, and where the engine is down or does not count.
        """
        ...

    async def acquire(self, holder: str) -> None:
        """Take the exclusive right to change the target for `holder` (a study's id); keep it until `release`.

        Raises Refused naming the other holder. Taking it again with the same holder (after a crash) succeeds.
        """
        ...

    async def lost(self) -> str:
        """Wait, while the target is held, until somebody else has taken the right to it; returns how that came about.

        The work must stop then: what runs on the target is no longer what was applied.
        """
        ...

    async def apply(self, candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        """Start the engine afresh with `candidate` and return when it is ready and runs it.

        Always a fresh start, also if `candidate` is what runs now. Raises TrialFailed with the cause within seconds of
        the evidence; the target may then be left down until the next `apply` or `restore`.
        """
        ...

    async def diagnose(self, failure: Failure) -> Failure:
        """Refine a failure seen from outside (streams broke) by what the target knows (OOMKilled, logs, restarts).

        Returns `failure` unchanged where the target knows nothing better. Takes at most a few seconds once the target
        can be asked: an outage is waited for, since it may tell whose failure this is.
        """
        ...

    async def restore(self) -> None:
        """Put everything back as found. Raises Refused with a diff where somebody else changed the same field."""
        ...

    async def serves_again(self, deadline_s: float) -> bool:
        """Wait after `restore` until the engine that was found serves again; False when it does not by the deadline."""
        ...

    async def release(self) -> None:
        """Give up the exclusive right and close connections. Never raises."""
        ...
