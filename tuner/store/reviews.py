"""What people decided on the winners of studies: nothing of it is ever changed or removed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from tuner.core.errors import Refused
from tuner.store import rows, stamps
from tuner.store.codec import decode
from tuner.store.database import Database
from tuner.store.records import Decision, Review
from tuner.store.tables import reviews


class Reviews:
    """The decisions in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        study_id: int,
        decision: Decision,
        comment: str,
        who: str,
        now: datetime,
        *,
        vouched: bool,
        seen: int | None = None,
    ) -> Review:
        """Keep a decision. Raises Unknown for an unknown study, Refused where there are others than were `seen`."""
        made = Review(study_id, decision, comment, who, now, vouched)
        with self._database.writing() as connection:
            rows.study_by_id(connection, study_id)
            stamps.touch(connection, study_id)  # holds the study, so that of two decisions at once one is the second
            if seen is not None:
                _refuse_unseen(self._decided(connection, study_id), seen)
            connection.execute(insert(reviews).values(**{**vars(made), "decision": decision.value}))
        return made

    def of(self, study_id: int) -> list[Review]:
        """A study's decisions, oldest first."""
        with self._database.reading() as connection:
            return self._decided(connection, study_id)

    def _decided(self, connection: Connection, study_id: int) -> list[Review]:
        query = select(reviews).where(reviews.c.study_id == study_id).order_by(reviews.c.id)
        return [decode(Review, row._mapping) for row in connection.execute(query)]


def _refuse_unseen(made: list[Review], seen: int) -> None:
    if seen > len(made):
        raise Refused(f"of {seen} decisions there are {len(made)}; look at it again, then decide")
    if seen < len(made):
        one = made[-1]
        words = f" ({one.comment})" if one.comment else ""
        raise Refused(f"{one.who} decided meanwhile: {one.decision.value}{words}; look at it again, then decide")
