"""What people decided on the winners of studies: nothing of it is ever changed or removed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select

from tuner.store import rows, stamps
from tuner.store.codec import decode
from tuner.store.database import Database
from tuner.store.records import Decision, Review
from tuner.store.tables import reviews


class Reviews:
    """The decisions in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, study_id: int, decision: Decision, comment: str, who: str, now: datetime) -> Review:
        """Keep a decision. Raises Unknown for an unknown study."""
        made = Review(study_id, decision, comment, who, now)
        values = {"study_id": study_id, "decision": decision.value, "comment": comment, "who": who, "made": now}
        with self._database.writing() as connection:
            rows.study_by_id(connection, study_id)
            connection.execute(insert(reviews).values(values))
            stamps.touch(connection, study_id)
        return made

    def of(self, study_id: int) -> list[Review]:
        """A study's decisions, oldest first."""
        query = select(reviews).where(reviews.c.study_id == study_id).order_by(reviews.c.id)
        with self._database.reading() as connection:
            return [decode(Review, row._mapping) for row in connection.execute(query)]
