"""What random search would have found for studies of simulated targets: worked out when somebody looks, once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from tuner.core.errors import TunerError
from tuner.dashboard.views.study import StudyView
from tuner.study.rival import random_search

_KEPT = 100


class Rivals:
    """Random search's best so far by GPU-minutes. One is worked out at a time: others wait, and hold up nothing."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, datetime], Sequence[tuple[float, float]]] = OrderedDict()
        self._turn = asyncio.Lock()

    async def of(self, view: StudyView) -> Sequence[tuple[float, float]]:
        """For a finished study; empty where its target was no simulation, or can't be simulated any more.

        Takes some seconds to half a minute of processor time when it is asked for the first time.
        """
        if view.live or not view.known["simulated"]:
            return ()
        key = (view.study.id, view.study.updated)
        async with self._turn:
            if key not in self._known:
                self._known[key] = await asyncio.to_thread(_found, view)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return self._known[key]


def _found(view: StudyView) -> Sequence[tuple[float, float]]:
    """The incumbents, and the last of them once more where the search ended."""
    try:
        rival = StudyView(view.study, random_search(view.study))
    except TunerError:  # files that the study was given may be gone
        return ()
    return [*rival.incumbents, *((rival.gpu_minutes, value) for _, value in rival.incumbents[-1:])]
