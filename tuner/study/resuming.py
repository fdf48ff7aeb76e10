"""Taking up what an earlier run of a study left: learn its records again, and tell what was not told."""

from __future__ import annotations

import asyncio

from tuner.store import TrialKind
from tuner.study.loop import TrialLoop


async def resume(loop: TrialLoop) -> None:
    """Give the loop its study's trials so far. A trial that was begun and has no outcome is the loop's next one."""
    loop.trials = await asyncio.to_thread(loop.store.trials, loop.study_id)
    for trial in loop.trials:
        loop.ledger.charge_killed(trial, loop.gpus)
        loop.ledger.charge_trial(trial, loop.gpus)
        if trial.recorded is not None and not trial.screened:
            loop.learn(trial)
    tickets = [trial.ticket for trial in loop.trials if trial.ticket is not None]
    await asyncio.to_thread(loop.sampler.close_stale, tickets)
    for trial in loop.trials:
        # The baseline every time: not every sampler remembers what it did not suggest itself.
        if trial.recorded is not None and (not trial.told or trial.kind is TrialKind.BASELINE):
            await loop.tell(trial)
