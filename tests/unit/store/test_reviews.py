from __future__ import annotations

import pytest

from tests.unit.store.entries import (
    LATER,
    NOW,
    make_study,
)
from tuner.store import (
    Decision,
    Review,
    Store,
    Unknown,
)


def test_decisions_on_a_winner_are_kept_in_their_order(store: Store) -> None:
    study, other = make_study(store), make_study(store, "b")
    approved = store.reviews.add(study.id, Decision.APPROVED, "go ahead", "ada", NOW, vouched=True)
    store.reviews.add(other.id, Decision.REJECTED, "too dear", "bob", NOW, vouched=False)
    applied = store.reviews.add(study.id, Decision.APPLIED, "", "ada", LATER, vouched=False)
    assert applied == Review(study.id, Decision.APPLIED, "", "ada", LATER, vouched=False)
    assert (approved.vouched, applied.vouched) == (True, False)
    assert store.reviews.of(study.id) == [approved, applied]
    assert store.reviews.of(7) == []
    with pytest.raises(Unknown, match="study has id 7"):
        store.reviews.add(7, Decision.APPROVED, "", "ada", NOW, vouched=False)
