"""Opening a database: connections, the lock under which tables are made, and migrations."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, StatementError

from tuner.core.errors import TunerError
from tuner.store.tables import PREFIX, VERSION_TABLE, metadata
from tuner.store.url import masked

#: The newest migration in this package.
HEAD = "0002"
_BUSY_S = 30
_CONNECT_S = 10
_SETUP_S = 60
_ADVISORY_KEY = 0x74756E6572  # "tuner"
_WRITES = "tuner_writes"


class StoreError(TunerError):
    """The database can't be opened, read or written; the message names it and gives the database's own words."""


class Database:
    """One database file or server: short transactions, and a lock for making tables."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.shown = masked(url.render_as_string(hide_password=False))
        self.sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite(url) if self.sqlite else _postgresql(url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads. Raises StoreError."""
        with self._errors_named(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: on SQLite it holds the write lock from its first moment, so that what it read
        can't be old when it writes. Raises StoreError."""
        with self._errors_named(), self._engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def setup_lock(self) -> Iterator[None]:
        """Keep every other process from making tables here. Released by the system if this process dies.

        Raises StoreError when somebody else holds it for longer than a minute.
        """
        with self._file_lock() if self.sqlite else self._advisory_lock():
            yield

    def migrate(self) -> None:
        """Bring the tables to the newest version. Raises StoreError where a newer tuner has made them."""
        if self._version() == HEAD:
            return
        with self.setup_lock():
            if self._version() == HEAD:  # another process was first
                return
            if self.sqlite:
                self._use_wal()
            with self.writing() as connection:
                _upgrade(connection, self.shown)

    def _version(self) -> str | None:
        with self.reading() as connection:
            if not inspect(connection).has_table(VERSION_TABLE):
                return None
            return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()

    def _use_wal(self) -> None:
        """Let readers and a writer work at the same time. The mode stays with the file."""
        with self._errors_named():
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(f"storage {self.shown}: {str(error.orig).strip()}") from error
        except StatementError as error:  # a value that our own types refused
            raise (error.orig or error) from None
        except OSError as error:
            raise StoreError(f"storage {self.shown}: {error}") from error

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        assert self.url.database is not None
        path = Path(self.url.database + ".lock")
        with self._errors_named():
            file = path.open("a")
        with file:
            give_up = time.monotonic() + _SETUP_S
            while not _locked(file.fileno()):
                if time.monotonic() > give_up:
                    raise StoreError(f"storage {self.shown}: another process holds {path}")
                time.sleep(0.02)
            yield

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        """In a transaction of its own: PostgreSQL lets go of it when that ends or the connection breaks."""
        with self.writing() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_SETUP_S}s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})"))
            yield


def migration_options() -> dict[str, Any]:
    """How Alembic is set up, for migrating and for comparing: our own version table, and no look at Optuna's tables."""
    return {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "include_object": _is_ours,
        "transactional_ddl": True,
        "compare_type": True,
    }


def _is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    return kind != "table" or (name is not None and name.startswith(PREFIX) and name != VERSION_TABLE)


def _upgrade(connection: Connection, shown: str) -> None:
    # Alembic takes a quarter of a second to import, and is needed only when a database is new or old.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            f"storage {shown}: made by another version of tuner ({error}); use that one or newer"
        ) from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Compact, stable text; a number that is not finite is refused, because no database could give it back.
_dumps = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def _postgresql(url: URL) -> Engine:
    limits = {"connect_timeout": _CONNECT_S} if "connect_timeout" not in url.query else {}
    psycopg = url.set(drivername="postgresql+psycopg")
    return create_engine(psycopg, json_serializer=_dumps, pool_pre_ping=True, connect_args=limits)


def _sqlite(url: URL) -> Engine:
    assert url.database is not None
    try:
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"storage {url}: {error}") from error
    where = {"creator": partial(_read_only, Path(url.database))} if _is_read_only(Path(url.database)) else {}
    engine = create_engine(url, json_serializer=_dumps, connect_args={"timeout": _BUSY_S}, **where)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _is_read_only(file: Path) -> bool:
    return file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _read_only(file: Path) -> sqlite3.Connection:
    """SQLite reads its write-ahead log by files that it makes itself; where it may not, and nobody writes, without."""
    alone = "" if Path(f"{file}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{file.as_uri()}?mode=ro{alone}", uri=True, timeout=_BUSY_S, check_same_thread=False)


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _on_begin says, not at the driver's guess
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, without waiting, when another wrote in between.
    immediate = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
