"""The application as a process: what it serves with, and how it ends."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

#: A study of a thousand trials is made of a hundred thousand objects that stay: a look at all of them after each seven
#: hundred, which is Python's own rule, takes as long again as reading them.
_COLLECT = (100_000, 20, 20)
_OPTIONS: dict[str, Any] = {
    "log_level": "warning",
    "server_header": False,
    "proxy_headers": False,  # an address that a proxy claims is no reason to believe another header of it
    "timeout_graceful_shutdown": 2,
}


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until a signal: the answers under way are finished, the ones that would never end are ended."""
    gc.freeze()  # what is there by now stays: no collection while a page waits need look at it
    gc.set_threshold(*_COLLECT)
    _Server(uvicorn.Config(app, **_OPTIONS)).run(sockets=[listening])


@contextmanager
def tidy_end() -> Iterator[None]:
    """Within it, SIGTERM ends the process by way of whatever closes and removes what is open."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        await app.state.live.close()  # a page that follows a study is an answer that goes on
        app.state.rivals.close()
        await super().shutdown(sockets)
