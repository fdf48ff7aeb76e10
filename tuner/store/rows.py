"""Rows as records."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from tuner.store import tables
from tuner.store.codec import decode
from tuner.store.records import StudyRecord, TrialRecord


def study(row: Row[Any]) -> StudyRecord:
    """A row of the table of studies."""
    return decode(StudyRecord, row._mapping)


def study_by_id(connection: Connection, study_id: int) -> StudyRecord:
    """The study of this id. Raises LookupError."""
    row = connection.execute(select(tables.studies).where(tables.studies.c.id == study_id)).one_or_none()
    if row is None:
        raise LookupError(f"no study has id {study_id}")
    return study(row)


def trials(connection: Connection, which: ColumnElement[bool]) -> list[TrialRecord]:
    """The trials for which `which` (a condition on the table of trials) holds, by study and number."""
    table = tables.trials
    phases, levels = _of_trials(connection, tables.phases, which), _of_trials(connection, tables.levels, which)
    found = connection.execute(select(table).where(which).order_by(table.c.study_id, table.c.number))
    records = []
    for row in found:
        own = {"phases": [one._mapping for one in phases[row.id]], "levels": [one.level for one in levels[row.id]]}
        records.append(decode(TrialRecord, {**row._mapping, **own}))
    return records


def _of_trials(connection: Connection, table: Table, which: ColumnElement[bool]) -> dict[int, list[Row[Any]]]:
    """The rows of a table that belong to these trials, by trial and in the order of their entry."""
    found = defaultdict(list)
    for row in connection.execute(select(table).join(tables.trials).where(which).order_by(table.c.id)):
        found[row.trial_id].append(row)
    return found
