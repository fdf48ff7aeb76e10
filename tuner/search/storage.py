"""Optuna's own tables beside ours in one database."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

_TRIES = 5
_BUSY_S = 30


def open_storage(
    url: str,
    lock: AbstractContextManager[None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> RDBStorage:
    """Open Optuna's storage at `url`, making its tables where they are missing.

    Two processes that make them at once break each other: `lock` keeps others out (Store.setup_lock), and a try that
    failed against another process is repeated. Raises SQLAlchemy's or Optuna's error when it still fails.
    """
    arguments = {"connect_args": {"timeout": _BUSY_S}} if make_url(url).get_backend_name() == "sqlite" else {}
    # RDBStorage formats its URL, which reads a brace in a password as a field.
    template = url.replace("{", "{{").replace("}", "}}")
    with lock or nullcontext():
        for attempt in range(_TRIES):
            try:
                return _relaxed(RDBStorage(template, engine_kwargs=arguments))
            except (SQLAlchemyError, StorageInternalError):
                if attempt == _TRIES - 1:
                    raise
                sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")


def _relaxed(storage: RDBStorage) -> RDBStorage:
    """Let SQLite commit Optuna's many small writes without waiting for the disk each time.

    Nothing is lost when this process is killed. After a power cut the log is intact up to some commit, and our own
    record, which waits for the disk in the same file, comes after what it relies on.
    """
    if storage.engine.dialect.name != "sqlite":
        return storage
    with storage.engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode = WAL"))
    storage.engine.dispose()

    @event.listens_for(storage.engine, "connect")
    def relax(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")

    return storage
