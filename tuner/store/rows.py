"""Rows as records."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from tuner.core.cause import Failure
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.measurement import Level, Measurement, Verdict
from tuner.store import tables
from tuner.store.codec import T, decode
from tuner.store.records import Phase, PhaseRecord, StudyRecord, StudyState, TrialKind, TrialRecord


def study(row: Row[Any]) -> StudyRecord:
    """A row of the table of studies."""
    return StudyRecord(**{**row._mapping, "state": StudyState(row.state)})


def study_by_id(connection: Connection, study_id: int) -> StudyRecord:
    """The study of this id. Raises LookupError."""
    row = connection.execute(select(tables.studies).where(tables.studies.c.id == study_id)).one_or_none()
    if row is None:
        raise LookupError(f"no study has id {study_id}")
    return study(row)


def trials(connection: Connection, which: ColumnElement[bool]) -> list[TrialRecord]:
    """The trials for which `which` (a condition on the table of trials) holds, by study and number."""
    table = tables.trials
    phases, levels = _phases(connection, which), _levels(connection, which)
    found = connection.execute(select(table).where(which).order_by(table.c.study_id, table.c.number))
    return [_trial(row, tuple(phases[row.id]), tuple(levels[row.id])) for row in found]


def _phases(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[PhaseRecord]]:
    table, found = tables.phases, defaultdict(list)
    for row in connection.execute(select(table).join(tables.trials).where(which).order_by(table.c.id)):
        found[row.trial_id].append(PhaseRecord(Phase(row.phase), row.began))
    return found


def _levels(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[Level]]:
    table, found = tables.levels, defaultdict(list)
    for row in connection.execute(select(table).join(tables.trials).where(which).order_by(table.c.id)):
        found[row.trial_id].append(decode(Level, row.level))
    return found


def _trial(row: Row[Any], phases: tuple[PhaseRecord, ...], levels: tuple[Level, ...]) -> TrialRecord:
    decoded = {
        "kind": TrialKind(row.kind),
        "phase": Phase(row.phase),
        "candidate": decode(Candidate, row.candidate),
        "verdict": _maybe(Verdict, row.verdict),
        "measurement": _maybe(Measurement, row.measurement),
        "facts": _maybe(EngineFacts, row.facts),
        "failure": _maybe(Failure, row.failure),
    }
    return TrialRecord(**{**row._mapping, **decoded, "phases": phases, "levels": levels})


def _maybe(kind: type[T], data: Any) -> T | None:
    return None if data is None else decode(kind, data)
