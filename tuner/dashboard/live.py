"""A study followed while it runs: one look at the database a second, and one page made of it, for all who watch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field

from tuner.dashboard.reading import Reading
from tuner.dashboard.templating import alone
from tuner.store import StoreError, Unknown
from tuner.study.standing import state_of

_LOG = logging.getLogger(__name__)
_EVERY_S = 1.0
#: Of one core, for making one study's page anew, which a long one would often need; to send it costs as much. It is
#: more where a page of a long study takes more than a tenth of a second: nobody shall wait longer than ten.
_SHARE = 0.01
_LONGEST_S = 10.0
#: A comment now and then, so that a connection that is dead is noticed, and proxies keep one that is not.
_KEEP_ALIVE_S = 15.0
ALIVE = b": alive\n\n"
#: The page that gets it loads itself again.
OVER = b"event: over\ndata: over\n\n"


@dataclass
class _Feed:
    """One study's newest message, and who waits for the next."""

    message: bytes = b""
    number: int = 0
    over: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    watchers: int = 0
    task: asyncio.Task[None] | None = None


class Live:
    """The studies that are being watched. The work is the same for one watcher and for a hundred."""

    def __init__(self, reading: Reading, every_s: float = _EVERY_S, share: float = _SHARE) -> None:
        self._reading = reading
        self._every_s = every_s
        self._share = share
        self._feeds: dict[int, _Feed] = {}
        self._closed = False

    async def messages(self, study_id: int) -> AsyncGenerator[bytes, None]:
        """Server-sent events: the study's page as it stands, whenever it changes; a last one `over` when it has ended.

        `over` comes, too, where the study can't be followed any further, but not where `close` is the reason. A watcher
        that is slow misses what lies between.
        """
        feed = self._feed(study_id)
        feed.watchers += 1
        seen = 0
        try:
            while not (feed.over and seen == feed.number):
                if await _newer(feed, seen):
                    seen = feed.number
                    yield feed.message
                elif not feed.over:
                    yield ALIVE
            if not self._closed:  # else whoever watches asks again, and goes on after a restart
                yield OVER
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                self._forget(study_id, feed)

    async def close(self) -> None:
        """Stop following, and end what watchers are told."""
        self._closed = True
        for study_id, feed in list(self._feeds.items()):
            self._forget(study_id, feed)
            await _end(feed)

    def _feed(self, study_id: int) -> _Feed:
        feed = self._feeds.get(study_id)
        if feed is None:
            feed = self._feeds[study_id] = _Feed()
            feed.task = asyncio.create_task(self._follow(study_id, feed))
        return feed

    def _forget(self, study_id: int, feed: _Feed) -> None:
        if self._feeds.get(study_id) is feed:
            del self._feeds[study_id]
        if feed.task is not None:
            feed.task.cancel()

    async def _follow(self, study_id: int, feed: _Feed) -> None:
        try:
            await self._publish_changes(study_id, feed)
        except Unknown:  # discarded: nothing had come of it
            pass
        except Exception:  # a mistake in here: watchers ask for the whole page again, and are told
            _LOG.exception("study %d is not followed any further", study_id)
        # Who comes from now on begins anew: this feed has ended, and a slow watcher may hold it for long.
        if self._feeds.get(study_id) is feed:
            del self._feeds[study_id]
        await _end(feed)

    async def _publish_changes(self, study_id: int, feed: _Feed) -> None:
        """Until the study has ended. Raises Unknown where it is gone."""
        seen: object = None
        live = True
        while live:
            pause_s = self._every_s
            with suppress(StoreError):  # the database is busy or away: look again
                now = await asyncio.to_thread(self._look, study_id)
                if now != seen:
                    message, live, took_s = await asyncio.to_thread(self._message, study_id)
                    pause_s = max(pause_s, took_s / self._share)
                    seen = now
                    await _publish(feed, message)
            if live:
                await asyncio.sleep(min(pause_s, _LONGEST_S))

    def _look(self, study_id: int) -> object:
        """What is another whenever the page is: that a killed study's claim has expired is entered nowhere."""
        store = self._reading.store
        return store.stamp(study_id), state_of(store.study_by_id(study_id))

    def _message(self, study_id: int) -> tuple[bytes, bool, float]:
        """The page as an event, whether the study goes on, and the processor's seconds that it took.

        Not the clock's: where others keep the machine busy, a page would stand still for no reason of its own.
        """
        began = time.thread_time()
        view = self._reading.study(study_id)
        message = event(alone("_study.html", view=view))
        return message, view.live, time.thread_time() - began


def event(text: str) -> bytes:
    """Text as one server-sent event without a name."""
    return "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"


async def _newer(feed: _Feed, seen: int) -> bool:
    """Wait for a message that was not seen; False where none came in time, or none will come."""
    async with feed.changed:
        with suppress(TimeoutError):
            async with asyncio.timeout(_KEEP_ALIVE_S):
                await feed.changed.wait_for(lambda: feed.number > seen or feed.over)
        return feed.number > seen


async def _publish(feed: _Feed, message: bytes) -> None:
    async with feed.changed:
        feed.message, feed.number = message, feed.number + 1
        feed.changed.notify_all()


async def _end(feed: _Feed) -> None:
    async with feed.changed:
        feed.over = True
        feed.changed.notify_all()
