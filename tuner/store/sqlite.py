"""SQLite files: transactions that begin when they say so, and reading where nothing may be written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL

#: The option of a connection whose transactions write.
WRITES = "tuner_writes"
_BUSY_S = 30


def engine(url: URL, json: Mapping[str, Callable[..., Any]], *, read_only: bool) -> Engine:
    """An engine on the file that `url` names; one that we may not write is read all the same.

    `json` are SQLAlchemy's options for how columns of JSON are written and read. Raises OSError where the file's folder
    can't be made. With `read_only` nothing is made.
    """
    assert url.database is not None
    file = Path(url.database)
    if not read_only:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if read_only or (file.exists() and not _may_be_written(file.resolve())):
        # A connection for each transaction: how the file is read hangs on who else has it open at the time.
        made = create_engine(url, **json, creator=partial(_reader, file), poolclass=NullPool)
    else:
        made = create_engine(url, **json, connect_args={"timeout": _BUSY_S})
    event.listen(made, "connect", _on_connect)
    event.listen(made, "begin", _on_begin)
    return made


def _may_be_written(file: Path) -> bool:
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def _reader(file: Path) -> sqlite3.Connection:
    """A connection that can't write, and sees what other processes have committed.

    Raises OSError where SQLite could not see all of it.
    """
    file = file.resolve()  # SQLite keeps what belongs to it beside the file itself, not beside a link to it
    alone = "&immutable=1" if _is_alone(file) else ""
    return sqlite3.connect(f"{file.as_uri()}?mode=ro{alone}", uri=True, timeout=_BUSY_S, check_same_thread=False)


def _is_alone(file: Path) -> bool:
    """Whether a file must be read as one that doesn't change, and is one while this connection lives.

    Changes are first in a log ("-wal"), which SQLite reads by an index in shared memory ("-shm"); it makes what is
    absent of both. Where it may not, only the file itself can be read. That is all there is where the log is absent or
    empty: a writer has both files from its first moment to its last, and brings the log into the file when it leaves.

    Not even a look into the file is taken here: closing it would drop the locks of this process's other connections
    (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    if _may_be_written(file):
        return False
    log, index = Path(f"{file}-wal"), Path(f"{file}-shm")
    size = log.stat().st_size if log.exists() else None
    if size is not None and index.exists():
        return False
    if size:
        raise OSError(
            f"what was written last is in {log}, which can't be read without a file {index.name} beside it, and that "
            "can't be made here; copy the database and its -wal to a folder where you may write"
        )
    return True


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _on_begin says, not at the driver's guess
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, without waiting, when another wrote in between.
    immediate = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
