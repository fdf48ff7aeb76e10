"""Ends work on a signal, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tuner.core.errors import Interrupted, TunerError

Result = TypeVar("Result")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def interruptible(work: Coroutine[Any, Any, Result], say: Callable[[str], None]) -> Result:
    """Await `work`; SIGINT, SIGTERM and SIGHUP cancel it once, later ones only say that it is on its way.

    `work` puts things back in its own `finally`. Raises Interrupted after a signal, TunerError where `work` cancelled
    itself (its claim was taken over).
    """
    task = asyncio.ensure_future(work)
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if received:
            say("still putting everything back; please wait")
            return
        received.append(number)
        task.cancel()  # first of all: whoever listens may be gone
        say("stopping: everything is being put back")

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError as cancelled:
        if not received:
            raise TunerError(f"stopped: {cancelled}") from cancelled
        raise Interrupted(received[0], "stopped; everything was put back") from None
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
