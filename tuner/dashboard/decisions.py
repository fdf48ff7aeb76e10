"""What people say of a winner, put on record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from tuner.core.errors import InvalidInput, Refused
from tuner.dashboard.access import Visitor, visible
from tuner.dashboard.reading import Reading
from tuner.store import Decision, Review

#: A comment of more is a document, and has a better place.
LONGEST_COMMENT = 4000
#: What people say of a winner; what is done with it is put on record by itself.
Word = Literal["approved", "rejected"]


def decide(
    reading: Reading, study_id: int, word: Word, comment: str, who: Visitor, *, seen: int | None = None
) -> Review:
    """Approve or reject. `seen` is how many decisions whoever decides has seen (None: they do not say).

    Raises Unknown for an unknown study, InvalidInput for a comment that is too long, and Refused where there is nothing
    to decide, or somebody else decided meanwhile.
    """
    view = reading.study(study_id)
    if view.recommendation.settings is None:
        raise Refused(f"study {view.study.name} has no winner to decide on")
    said = visible(comment.replace("\r\n", "\n")).strip()
    if len(said) > LONGEST_COMMENT:
        raise InvalidInput(f"comment: has {len(said)} characters; allowed: up to {LONGEST_COMMENT}")
    add = reading.store.reviews.add
    return add(study_id, Decision(word), said, who.name, datetime.now(UTC), vouched=who.vouched, seen=seen)
