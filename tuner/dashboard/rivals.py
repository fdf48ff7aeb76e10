"""What random search would have found for studies of simulated targets: worked out when somebody looks, once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from tuner.core.errors import TunerError
from tuner.dashboard.views.study import StudyView
from tuner.study.rival import random_search

_LOG = logging.getLogger(__name__)
_KEPT = 100
_Found = Sequence[tuple[float, float]]


class Rivals:
    """Random search's best so far by GPU-minutes. One is worked out at a time: others wait, and hold up nothing."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, datetime], _Found] = OrderedDict()
        self._turn = asyncio.Lock()
        self._working: asyncio.Future[_Found] | None = None
        self._closed = False

    async def of(self, view: StudyView) -> _Found:
        """For a finished study; empty where its target was no simulation, or can't be simulated any more.

        Takes some seconds to half a minute of processor time when it is asked for the first time.
        """
        if view.live or not view.known["simulated"]:
            return ()
        key = (view.study.id, view.study.updated)
        async with self._turn:
            if self._closed:
                return ()
            if key not in self._known:
                try:
                    found = await self._aside(view)
                except Exception:  # a mistake in here, which is no finding: the picture does without
                    _LOG.exception("what random search finds for study %d", view.study.id)
                    return ()
                if self._closed:
                    return ()
                self._known[key] = found
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return self._known[key]

    def close(self) -> None:
        """Let nobody wait any longer: they get nothing."""
        self._closed = True
        if self._working is not None:
            _settle(self._working, ())

    async def _aside(self, view: StudyView) -> _Found:
        """In a thread of its own, which ends with the process: who ends the dashboard does not wait for it."""
        loop = asyncio.get_running_loop()
        working: asyncio.Future[_Found] = loop.create_future()
        self._working = working

        def work() -> None:
            found: _Found | Exception
            try:
                found = _found(view)
            except Exception as error:
                found = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_settle, working, found)

        threading.Thread(target=work, name="rival", daemon=True).start()
        return await working


def _settle(future: asyncio.Future[_Found], found: _Found | Exception) -> None:
    if future.done():
        return
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)


def _found(view: StudyView) -> _Found:
    """The incumbents, and the last of them once more where the search ended."""
    try:
        rival = StudyView(view.study, random_search(view.study))
    except TunerError:  # files that the study was given may be gone
        return ()
    return [*rival.incumbents, *((rival.gpu_minutes, value) for _, value in rival.incumbents[-1:])]
