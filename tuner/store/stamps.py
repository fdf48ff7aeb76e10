"""Whether anything of a study has changed, at the price of a few numbers: for those who ask every second."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from tuner.store.rows import Unknown
from tuner.store.tables import studies

#: When the study was entered, and how often it changed since. Only equality counts.
Stamp = tuple[datetime, int]

# An id may come again after a study was discarded, the time of its entry does not.
_STAMP = select(studies.c.id, studies.c.created, studies.c.revision)


def touch(connection: Connection, study_id: int) -> None:
    """Count one change of a study or of what belongs to it, in the transaction that makes the change."""
    query = update(studies).where(studies.c.id == study_id)
    connection.execute(query.values(revision=studies.c.revision + 1))


def stamp(connection: Connection, study_id: int) -> Stamp:
    """One study's. Raises Unknown."""
    row = connection.execute(_STAMP.where(studies.c.id == study_id)).one_or_none()
    if row is None:
        raise Unknown(f"no study has id {study_id}")
    return _of(row)


def stamps(connection: Connection) -> dict[int, Stamp]:
    """Those of all studies, by id."""
    return {row.id: _of(row) for row in connection.execute(_STAMP)}


def _of(row: Any) -> Stamp:
    return (row.created, row.revision)
