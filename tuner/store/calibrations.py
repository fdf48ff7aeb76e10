"""What planners have learnt from start-up logs, kept for later studies of the same image, GPU and model."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from tuner.store.codec import T, decode, encode
from tuner.store.database import Database
from tuner.store.tables import calibrations


class Calibrations:
    """Constants by key, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str, kind: type[T]) -> T | None:
        """The constants learnt under this key; None: nothing yet."""
        with self._database.reading() as connection:
            kept = connection.execute(select(calibrations.c.constants).where(calibrations.c.key == key)).scalar()
        return None if kept is None else decode(kind, kept)

    def keep(self, key: str, constants: object) -> None:
        """Keep constants under a key, in place of those kept before."""
        values: dict[str, Any] = {"key": key, "constants": encode(constants, "constants")}
        dialect = sqlite if self._database.sqlite else postgresql
        query = dialect.insert(calibrations).values(values)
        query = query.on_conflict_do_update(index_elements=["key"], set_={"constants": query.excluded.constants})
        with self._database.writing() as connection:
            connection.execute(query)
