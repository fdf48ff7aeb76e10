from __future__ import annotations

import pytest

from tests.unit.store.entries import LATER, NOW, make_study
from tuner.core.errors import Refused
from tuner.store import Decision, Review, Store, Unknown


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


@pytest.mark.parametrize(("seen", "said"), [(0, "ada decided meanwhile: approved"), (2, "of 2 decisions there are 1")])
def test_who_has_seen_other_decisions_than_there_are_makes_none(store: Store, seen: int, said: str) -> None:
    study = make_study(store)
    store.reviews.add(study.id, Decision.APPROVED, "", "ada", NOW, vouched=True, seen=0)
    with pytest.raises(Refused, match=said):
        store.reviews.add(study.id, Decision.REJECTED, "", "bob", NOW, vouched=True, seen=seen)
    assert len(store.reviews.of(study.id)) == 1
