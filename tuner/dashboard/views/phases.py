"""What a trial's phases took, as far as one can see."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tuner.store import Phase, PhaseRecord

#: The phases in which a trial costs time, in order.
AT_WORK = (Phase.SCREENING, Phase.STARTING, Phase.WARMING_UP, Phase.PROBING, Phase.JUDGING)


def worked(phases: Sequence[PhaseRecord]) -> list[tuple[Phase, float]]:
    """Phase and the seconds it took, in the order they came, as far as they have ended.

    A trial whose run was killed begins again later with its start (see `study.budget.killed_starts`): nobody knows when
    the phase before it ended, and the time until the new start is no work of the trial, so that phase is left out.
    """
    started, found = False, []
    for one, after in pairwise(phases):
        started = started or one.phase is Phase.STARTING
        again = started and after.phase is Phase.STARTING
        if one.phase in AT_WORK and not again:
            found.append((one.phase, (after.began - one.began).total_seconds()))
    return found
