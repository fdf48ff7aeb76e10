"""Who works on which study: one process at a time, until it releases its claim or no longer renews it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, update

from tuner.store import rows
from tuner.store.database import Database
from tuner.store.tables import studies


class Claims:
    """The claims on the studies of one database. `holder` names a process, uniquely."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, study_id: int, holder: str, now: datetime, ttl_s: float) -> bool:
        """Take the sole right to work on a study until `now` + `ttl_s`; False while somebody else has it.

        The same holder may take it again, and anybody may once it has expired. Clocks of two hosts that work on one
        database should differ by much less than `ttl_s`.
        """
        free = or_(studies.c.holder.is_(None), studies.c.holder == holder, studies.c.claimed_until <= now)
        query = update(studies).where(studies.c.id == study_id, free)
        return self._hold(query, study_id, holder, now + timedelta(seconds=ttl_s))

    def renew(self, study_id: int, holder: str, now: datetime, ttl_s: float) -> bool:
        """Keep the claim for another `ttl_s`; False where somebody else has taken it, and then work must stop."""
        query = update(studies).where(studies.c.id == study_id, studies.c.holder == holder)
        return self._hold(query, study_id, holder, now + timedelta(seconds=ttl_s))

    def release(self, study_id: int, holder: str) -> None:
        """Give the claim up. Nothing happens where somebody else has it."""
        query = update(studies).where(studies.c.id == study_id, studies.c.holder == holder)
        with self._database.writing() as connection:
            connection.execute(query.values(holder=None, claimed_until=None))

    def _hold(self, query: Any, study_id: int, holder: str, until: datetime) -> bool:
        # One UPDATE decides and takes: between two processes exactly one of them changes the row.
        with self._database.writing() as connection:
            taken = connection.execute(query.values(holder=holder, claimed_until=until)).rowcount == 1
            if not taken:
                rows.study_by_id(connection, study_id)
        return bool(taken)
