"""Changing a live Deployment for good, once: leased, watched, undone when it fails."""

from __future__ import annotations

from tuner.core.knob import Candidate
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.target import Progress, Running


async def preview(target: KubernetesTarget, candidate: Candidate) -> str:
    """The change that `keep` would make, as a unified diff of the flags; empty where there is none.

    Raises Refused where the target can't be changed safely.
    """
    await target.inspect()
    return target.preview(candidate)


async def keep(
    target: KubernetesTarget, candidate: Candidate, holder: str, deadline_s: float, progress: Progress
) -> Running | None:
    """Give a Deployment the settings of `candidate` and return the engine that runs them; None for no change.

    Raises Refused before anything has changed, TrialFailed after the change was undone. Releases the target.
    """
    try:
        if not await preview(target, candidate):
            return None
        await target.acquire(holder)
        return await target.keep(candidate, deadline_s, progress)
    finally:
        await target.release()
