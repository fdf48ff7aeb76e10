"""Opening a database: connections, the lock under which tables are made, and migrations."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, StatementError

from tuner.core.errors import TunerError
from tuner.store import sqlite
from tuner.store.tables import PREFIX, VERSION_TABLE, metadata
from tuner.store.url import masked

#: The newest migration in this package.
HEAD = "0004"
_CONNECT_S = 10
_SETUP_S = 60
_ADVISORY_KEY = 0x74756E6572  # "tuner"
_WRITER = "`tuner studies` with this --storage, or any other command that may write to it,"


class StoreError(TunerError):
    """The database can't be opened, read or written; the message names it and gives the database's own words."""


class Database:
    """One database file or server: short transactions, and a lock for making tables.

    With `read_only` its connections can't write, whatever they are asked to.
    """

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.url = url
        self.read_only = read_only
        self.shown = masked(url.render_as_string(hide_password=False))
        self.sqlite = url.get_backend_name() == "sqlite"
        make = sqlite.engine if self.sqlite else _postgresql
        with self._errors_named():
            self._engine = make(url, _JSON, read_only=read_only)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads, all of it as of one moment. Raises StoreError."""
        with self._errors_named(), self._engine.connect() as plain:
            connection = plain if self.sqlite else plain.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: on SQLite it holds the write lock from its first moment, so that what it read
        can't be old when it writes. Raises StoreError, also for a database that was opened to be read."""
        self._refuse_readers()
        with self._errors_named(), self._engine.connect() as plain:
            connection = plain.execution_options(**{sqlite.WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def setup_lock(self) -> Iterator[None]:
        """Keep every other process from making tables here. Released by the system if this process dies.

        Raises StoreError when somebody else holds it for longer than a minute, and as `writing`.
        """
        self._refuse_readers()
        with self._file_lock() if self.sqlite else self._advisory_lock():
            yield

    def check(self) -> None:
        """See that the tables are of this version, and make nothing. Raises StoreError that says what makes them."""
        if self.sqlite and not Path(str(self.url.database)).exists():
            raise StoreError(f"storage {self.shown}: there is no such file yet; `tuner start` makes it")
        version = self._version()
        if version is None:
            raise StoreError(f"storage {self.shown}: it has no studies; {_WRITER} makes the tables for them")
        if version < HEAD:
            earlier = "made by an earlier version of tuner"
            raise StoreError(f"storage {self.shown}: {earlier}; {_WRITER} brings it up to date")
        if version != HEAD:
            raise _made_by_another(self.shown, f"its tables are version {version}")

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

    def _refuse_readers(self) -> None:
        if self.read_only:
            raise StoreError(f"storage {self.shown}: opened to be read; nothing can be written")

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
        except json.JSONDecodeError as error:
            found = f"{error.doc[:40]!r} where JSON belongs ({error.msg})"
            raise StoreError(f"storage {self.shown}: it is damaged: {found}") from None
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
        raise _made_by_another(shown, str(error)) from error


def _made_by_another(shown: str, why: str) -> StoreError:
    return StoreError(f"storage {shown}: made by another version of tuner ({why}); use that one or newer")


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _loads(text: str) -> Any:
    """In a third of the time that the standard library takes, but for half characters, which some paths have."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


# Compact, stable text; a number that is not finite is refused, because no database could give it back.
_JSON: Mapping[str, Callable[..., Any]] = {
    "json_serializer": partial(json.dumps, allow_nan=False, separators=(",", ":")),
    "json_deserializer": _loads,
}


def _postgresql(url: URL, json_: Mapping[str, Callable[..., Any]], *, read_only: bool) -> Engine:
    # Said at the beginning of each transaction: a pooler between us and the server knows no session's settings.
    mode = {"postgresql_readonly": True} if read_only else {}
    limits = {"connect_timeout": _CONNECT_S} if "connect_timeout" not in url.query else {}
    psycopg = url.set(drivername="postgresql+psycopg")
    return create_engine(
        psycopg,
        **json_,
        pool_pre_ping=True,
        connect_args=limits,
        execution_options=mode,
    )
