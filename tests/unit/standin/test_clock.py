"""The loop's timers."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from tuner.standin.clock import precise_loop


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loop is Python's own")
def test_timers_are_not_rounded_to_milliseconds() -> None:
    async def late_s() -> float:
        late = []
        for _ in range(50):
            since = time.monotonic()
            await asyncio.sleep(0.0011)
            late.append(time.monotonic() - since - 0.0011)
        return min(late)

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        assert runner.run(late_s()) < 0.5e-3  # epoll alone would wait 2 ms


def test_what_happens_meanwhile_wakes_it() -> None:
    async def woken() -> float:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(event.set))
        since = time.monotonic()
        await asyncio.wait_for(event.wait(), 30)
        return time.monotonic() - since

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        assert runner.run(woken()) < 20
