"""Rows as records."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select

from tuner.store import tables
from tuner.store.codec import decode
from tuner.store.records import Phase, StudyRecord, TrialRecord


class Unknown(LookupError):
    """There is no study, or no trial, of this id or number."""


def study(row: Row[Any]) -> StudyRecord:
    """A row of the table of studies."""
    return decode(StudyRecord, row._mapping)


def study_by_id(connection: Connection, study_id: int) -> StudyRecord:
    """The study of this id. Raises Unknown."""
    row = connection.execute(select(tables.studies).where(tables.studies.c.id == study_id)).one_or_none()
    if row is None:
        raise Unknown(f"no study has id {study_id}")
    return study(row)


def trials(connection: Connection, which: ColumnElement[bool], *, short: bool = False) -> list[TrialRecord]:
    """The trials for which `which` (a condition on the table of trials) holds, by study and number.

    In `short`: without measurements and levels, which are a hundred times the rest; levels that are in no measurement
    (of trials that run, or were killed once) are there all the same.
    """
    table = tables.trials
    columns = [column for column in table.c if not (short and column.name == "measurement")]
    phases = _of_trials(connection, tables.phases, which)
    levels = _of_trials(connection, tables.levels, which & _unmeasured() if short else which)
    found = connection.execute(select(*columns).where(which).order_by(table.c.study_id, table.c.number))
    records = []
    for row in found:
        own = {
            "phases": [one._mapping for one in phases.get(row.id, ())],
            "levels": [one.level for one in levels.get(row.id, ())],
        }
        records.append(decode(TrialRecord, {**row._mapping, **own}))
    return records


def _unmeasured() -> ColumnElement[bool]:
    """Of trials that have no measurement, or were started more than once."""
    phases = tables.phases
    starts = select(func.count()).where(phases.c.trial_id == tables.trials.c.id, phases.c.phase == Phase.STARTING.value)
    return tables.trials.c.summary.is_(None) | (starts.correlate(tables.trials).scalar_subquery() > 1)


def _of_trials(connection: Connection, table: Table, which: ColumnElement[bool]) -> dict[int, list[Row[Any]]]:
    """The rows of a table that belong to these trials, by trial and in the order of their entry."""
    found = defaultdict(list)
    for row in connection.execute(select(table).join(tables.trials).where(which).order_by(table.c.id)):
        found[row.trial_id].append(row)
    return found
