"""Optuna's own tables beside ours in one database."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
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
                return RDBStorage(template, engine_kwargs=arguments)
            except (SQLAlchemyError, StorageInternalError):
                if attempt == _TRIES - 1:
                    raise
                sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")
