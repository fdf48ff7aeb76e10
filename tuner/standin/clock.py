"""An event loop that wakes up in time."""

from __future__ import annotations

import asyncio
import select
import selectors
import sys

if sys.platform == "linux":

    class _PreciseSelector(selectors.EpollSelector):
        """Waits to the microsecond: epoll itself rounds up to whole milliseconds, and a step is a few of them."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)

    def precise_loop() -> asyncio.AbstractEventLoop:
        """A new event loop whose timers are late by some tens of microseconds only."""
        return asyncio.SelectorEventLoop(_PreciseSelector())

else:
    precise_loop = asyncio.new_event_loop
