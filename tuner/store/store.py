"""The record of what happened: every study, trial, phase and level, each in the database before the next thing begins.

Every method is one short transaction and may be called from any thread. No transaction is open between calls, so
Optuna's own tables in the same database are never waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from tuner.core.cause import Failure
from tuner.core.errors import InvalidInput, TunerError
from tuner.core.expected import Expected
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.measurement import Level, Measurement, Verdict
from tuner.core.redact import redact
from tuner.core.summary import Summary
from tuner.store import rows, stamps
from tuner.store.calibrations import Calibrations
from tuner.store.claims import Claims
from tuner.store.codec import encode
from tuner.store.database import Database, StoreError
from tuner.store.records import Phase, StudyRecord, StudyState, TrialKind, TrialRecord
from tuner.store.reviews import Reviews
from tuner.store.stamps import Stamp
from tuner.store.tables import levels, phases, studies, trials
from tuner.store.url import parse_url


class Conflict(TunerError):
    """Two outcomes for one trial, a phase after its outcome, a study that another holds: somebody else works on it."""


class Store:
    """Studies and trials in one database, `claims`, `calibrations` and `reviews` beside them.

    Open with `Store.open`, close with `close` or as a context manager. Texts are kept without the secrets that logs and
    messages of others may hold (see `tuner.core.redact`).

    Methods raise StoreError where the database fails, Unknown (a LookupError) for an unknown id, and ValueError for
    numbers that are not finite or times without a zone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.claims = Claims(database)
        self.calibrations = Calibrations(database)
        self.reviews = Reviews(database)

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Store:
        """Open the database at `url`, making or migrating the tables under a lock.

        With `read_only` nothing can be written, made or migrated, and what others write is seen at once.

        Raises InvalidInput for a URL that is not allowed, StoreError where it can't be opened or, with `read_only`, has
        no tables of this version.
        """
        database = Database(parse_url(url), read_only=read_only)
        try:
            if read_only:
                database.check()
            else:
                database.migrate()
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def url(self) -> str:
        """The URL with its password, as Optuna's RDBStorage takes it."""
        return self._database.url.render_as_string(hide_password=False)

    def setup_lock(self) -> AbstractContextManager[None]:
        """Hold this while Optuna makes its own tables here: two processes that do so at once crash."""
        return self._database.setup_lock()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Studies

    def create_study(
        self, *, name: str, spec: Mapping[str, Any], target: str, info: Mapping[str, Any], now: datetime
    ) -> StudyRecord:
        """Enter a new study; what it goes on under is `spec["fingerprint"]`. Raises InvalidInput for a taken name."""
        values = {
            "name": name,
            "target": target,
            "fingerprint": spec.get("fingerprint", ""),
            "spec": encode(spec, "spec"),
            "info": encode(info, "info"),
            "state": StudyState.CREATED.value,
            "detail": "",
            "created": now,
            "updated": now,
        }
        try:
            with self._database.writing() as connection:
                study_id = connection.execute(insert(studies).values(values).returning(studies.c.id)).scalar_one()
                return rows.study_by_id(connection, study_id)
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise InvalidInput(f"name: a study {name!r} exists already; choose another name") from None
            raise

    def study_by_id(self, study_id: int) -> StudyRecord:
        """The study of this id."""
        with self._database.reading() as connection:
            return rows.study_by_id(connection, study_id)

    def studies(self) -> list[StudyRecord]:
        """All studies, oldest first."""
        with self._database.reading() as connection:
            return [rows.study(row) for row in connection.execute(select(studies).order_by(studies.c.id))]

    def stamp(self, study_id: int) -> Stamp:
        """What changes whenever anything of a study does: its state, result, a trial, phase, level or review.

        One quick query, for those who ask often. Only equality counts. Claims are left out: they are renewed all the
        time, and the clock alone tells that one expires; who has a study is in its record.
        """
        with self._database.reading() as connection:
            return stamps.stamp(connection, study_id)

    def stamps(self) -> dict[int, Stamp]:
        """The stamps of all studies, by id."""
        with self._database.reading() as connection:
            return stamps.stamps(connection)

    def resumable(self, target: str, fingerprint: str) -> StudyRecord | None:
        """The latest study of this target and specification that is not finished."""
        unfinished = studies.c.state != StudyState.FINISHED.value
        query = (
            select(studies)
            .where(studies.c.target == target, studies.c.fingerprint == fingerprint, unfinished)
            .order_by(studies.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else rows.study(row)

    def set_state(self, study_id: int, state: StudyState, detail: str, now: datetime, *, by: str = "") -> None:
        """Enter where the study stands, with one sentence for people. Raises Conflict where not `by` holds it."""
        self._change_study(study_id, by, state=state.value, detail=redact(detail), updated=now)

    def set_spec(self, study_id: int, spec: Mapping[str, Any], now: datetime, *, by: str = "") -> None:
        """Keep what is asked for now: a study may go on with another budget. Raises Conflict as `set_state`."""
        self._change_study(study_id, by, spec=encode(spec, "spec"), updated=now)

    def set_result(self, study_id: int, result: Mapping[str, Any]) -> None:
        """Keep what the study found (the outcome of the confirmation, ...)."""
        self._change_study(study_id, None, result=encode(result, "result"))

    def finish(
        self, study_id: int, result: Mapping[str, Any], detail: str, now: datetime, *, by: str = ""
    ) -> StudyRecord:
        """Keep what the study found and end it, both at once: a study without a result is never finished.

        Raises Conflict where not `by` holds it.
        """
        kept = encode(result, "result")
        self._change_study(study_id, by, result=kept, state=StudyState.FINISHED.value, detail=detail, updated=now)
        return self.study_by_id(study_id)

    def discard(self, study_id: int) -> None:
        """Remove a study that came to nothing. Raises StoreError where it has trials."""
        with self._database.writing() as connection:
            connection.execute(delete(studies).where(studies.c.id == study_id))

    def _change_study(self, study_id: int, by: str | None, **values: Any) -> None:
        """`by`: who must hold the study, or nobody does; None: whoever does."""
        theirs = true() if by is None else or_(studies.c.holder.is_(None), studies.c.holder == by)
        with self._database.writing() as connection:
            changed = connection.execute(update(studies).where(studies.c.id == study_id, theirs).values(values))
            if not changed.rowcount:
                raise Conflict(f"study {rows.study_by_id(connection, study_id).name!r} is worked on by somebody else")
            stamps.touch(connection, study_id)

    # Trials

    def add_trial(
        self,
        study_id: int,
        *,
        kind: TrialKind,
        candidate: Candidate,
        reason: str,
        ticket: int | None,
        now: datetime,
        position: int | None = None,
    ) -> TrialRecord:
        """Enter a trial in phase `suggested` under the study's next number (the first is 0)."""
        with self._database.writing() as connection:
            # Locks the study's row on PostgreSQL; on SQLite the transaction holds the only write lock already.
            study = select(studies.c.id).where(studies.c.id == study_id).with_for_update()
            if connection.execute(study).first() is None:
                raise rows.Unknown(f"no study has id {study_id}")
            last = connection.execute(select(func.max(trials.c.number)).where(trials.c.study_id == study_id)).scalar()
            values = {
                "study_id": study_id,
                "number": 0 if last is None else last + 1,
                "kind": kind.value,
                "candidate": encode(candidate, "candidate"),
                "reason": reason,
                "ticket": ticket,
                "position": position,
                "phase": Phase.SUGGESTED.value,
                "created": now,
            }
            trial_id = connection.execute(insert(trials).values(values).returning(trials.c.id)).scalar_one()
            _began(connection, study_id, trial_id, Phase.SUGGESTED, now)
            return _trial(connection, trial_id)

    def enter_phase(self, trial_id: int, phase: Phase, now: datetime) -> None:
        """Enter the phase that begins now. Raises Conflict for a trial whose outcome is recorded already."""
        with self._database.writing() as connection:
            current = _lock_trial(connection, trial_id)
            if current.recorded is not None:
                raise Conflict(f"trial {current.number} is recorded already and can't enter phase {phase.value!r}")
            connection.execute(update(trials).where(trials.c.id == trial_id).values(phase=phase.value))
            _began(connection, current.study_id, trial_id, phase, now)

    def add_level(self, trial_id: int, level: Level, now: datetime) -> None:
        """Keep one level as it ends. Raises Conflict for a trial whose outcome is recorded already."""
        values = {"trial_id": trial_id, "level": encode(level, "level"), "ended": now}
        with self._database.writing() as connection:
            current = _lock_trial(connection, trial_id)
            if current.recorded is not None:
                raise Conflict(f"trial with id {trial_id} is recorded already and can't take another level")
            connection.execute(insert(levels).values(values))
            stamps.touch(connection, current.study_id)

    def record(
        self,
        trial_id: int,
        *,
        verdict: Verdict | None,
        measurement: Measurement | None = None,
        expected: Expected | None = None,
        facts: EngineFacts | None = None,
        failure: Failure | None = None,
        screened: bool = False,
        start_s: float = 0.0,
        probe_s: float = 0.0,
        gpu_s: float = 0.0,
        now: datetime,
    ) -> TrialRecord:
        """Enter a trial's outcome, once, and with it the phase `recorded`.

        `failure` is for outcomes without a verdict (infrastructure, screened by the planner); otherwise it is the
        verdict's. The same outcome again changes nothing; another one raises Conflict. What was `expected` is no
        outcome: it stays as it was entered first.
        """
        verdict, failure = _redacted(verdict, failure)
        besides = {
            "summary": None if measurement is None else encode(Summary.of(measurement), "summary"),
            "expected": encode(expected, "expected"),
        }
        outcome = {
            "verdict": encode(verdict, "verdict"),
            "measurement": encode(measurement, "measurement"),
            "facts": encode(facts, "facts"),
            "failure": encode(failure, "failure"),
            "screened": screened,
            "start_s": encode(start_s, "start_s"),
            "probe_s": encode(probe_s, "probe_s"),
            "gpu_s": encode(gpu_s, "gpu_s"),
        }
        with self._database.writing() as connection:
            current = _lock_trial(connection, trial_id)
            if current.recorded is None:
                values = {**outcome, **besides, "phase": Phase.RECORDED.value, "recorded": now}
                connection.execute(update(trials).where(trials.c.id == trial_id).values(values))
                _began(connection, current.study_id, trial_id, Phase.RECORDED, now)
            elif any(getattr(current, name) != value for name, value in outcome.items()):
                raise Conflict(f"trial {current.number} is recorded already, with another outcome")
            return _trial(connection, trial_id)

    def mark_told(self, trial_id: int, now: datetime) -> None:
        """Enter that the sampler knows the outcome. Raises Conflict for a trial without one."""
        with self._database.writing() as connection:
            current = _lock_trial(connection, trial_id)
            if current.recorded is None:
                raise Conflict(f"trial {current.number} has no outcome yet that could have been told")
            connection.execute(update(trials).where(trials.c.id == trial_id).values(told=True, phase=Phase.TOLD.value))
            if current.phase != Phase.TOLD.value:
                _began(connection, current.study_id, trial_id, Phase.TOLD, now)

    def trials(self, study_id: int, *, short: bool = False) -> list[TrialRecord]:
        """A study's trials by number, none for an unknown study; in `short` without measurements and levels."""
        with self._database.reading() as connection:
            return rows.trials(connection, trials.c.study_id == study_id, short=short)

    def trial(self, study_id: int, number: int) -> TrialRecord:
        """One trial of a study. Raises Unknown."""
        with self._database.reading() as connection:
            found = rows.trials(connection, (trials.c.study_id == study_id) & (trials.c.number == number))
        if not found:
            raise rows.Unknown(f"study {study_id} has no trial {number}")
        return found[0]


def _trial(connection: Connection, trial_id: int) -> TrialRecord:
    found = rows.trials(connection, trials.c.id == trial_id)
    if not found:
        raise rows.Unknown(f"no trial has id {trial_id}")
    return found[0]


def _lock_trial(connection: Connection, trial_id: int) -> Any:
    row = connection.execute(select(trials).where(trials.c.id == trial_id).with_for_update()).one_or_none()
    if row is None:
        raise rows.Unknown(f"no trial has id {trial_id}")
    return row


def _began(connection: Connection, study_id: int, trial_id: int, phase: Phase, now: datetime) -> None:
    connection.execute(insert(phases).values(trial_id=trial_id, phase=phase.value, began=now))
    stamps.touch(connection, study_id)


def _redacted(verdict: Verdict | None, failure: Failure | None) -> tuple[Verdict | None, Failure | None]:
    """Both without secrets; where only the verdict has a failure, that one is the trial's."""
    if verdict is not None and verdict.failure is not None:
        verdict = replace(verdict, failure=verdict.failure.redacted())
    if failure is None:
        return verdict, verdict.failure if verdict else None
    return verdict, failure.redacted()
