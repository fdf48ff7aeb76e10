"""Work that a cancellation does not cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def undisturbed(work: Awaitable[Result]) -> Result:
    """Await `work` to its end whatever cancels the caller meanwhile; the cancellation comes through afterwards.

    For putting things back: a first Ctrl-C may well arrive while that is going on.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            result = await asyncio.shield(task)
            break
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return result
