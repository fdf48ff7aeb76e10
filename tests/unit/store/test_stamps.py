from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.store.entries import (
    LATER,
    MEASUREMENT,
    NOW,
    VERDICT,
    make_level,
    make_study,
    make_trial,
)
from tuner.store import (
    Conflict,
    Decision,
    Phase,
    Store,
    StudyState,
    Unknown,
)


def test_a_stamp_changes_with_whatever_changes_of_its_study_and_of_no_other(store: Store) -> None:
    study, other = make_study(store), make_study(store, "b")
    trial = make_trial(store, study)
    result = {"gain": 0.12}
    outcome = {"verdict": VERDICT, "measurement": MEASUREMENT, "now": NOW}
    changes: list[Callable[[], object]] = [  # all at one time
        lambda: store.set_state(study.id, StudyState.SEARCHING, "", NOW),
        lambda: store.set_spec(study.id, {"seed": 2}, NOW),
        lambda: store.set_result(study.id, result),
        lambda: make_trial(store, study),
        lambda: store.enter_phase(trial.id, Phase.STARTING, NOW),
        lambda: store.enter_phase(trial.id, Phase.STARTING, NOW),
        lambda: store.add_level(trial.id, make_level(), NOW),
        lambda: store.record(trial.id, **outcome),
        lambda: store.mark_told(trial.id, NOW),
        lambda: store.reviews.add(study.id, Decision.APPROVED, "", "ada", NOW, vouched=False),
        lambda: store.finish(study.id, result, "", NOW),
    ]
    before, untouched = store.stamp(study.id), store.stamp(other.id)
    for number, change in enumerate(changes):
        change()
        after = store.stamp(study.id)
        assert after != before, number
        assert store.stamps() == {study.id: after, other.id: untouched}
        before = after


def test_what_changes_nothing_changes_no_stamp(store: Store) -> None:
    study = make_study(store)
    trial = make_trial(store, study)
    store.record(trial.id, verdict=VERDICT, now=NOW)
    store.mark_told(trial.id, NOW)
    before = store.stamp(study.id)
    store.record(trial.id, verdict=VERDICT, now=LATER)
    store.mark_told(trial.id, LATER)
    store.trials(study.id)
    with pytest.raises(Conflict):
        store.enter_phase(trial.id, Phase.PROBING, LATER)
    assert store.stamp(study.id) == before


def test_a_claim_that_is_taken_renewed_or_released_changes_no_stamp(store: Store) -> None:
    study = make_study(store)
    stamps = [store.stamp(study.id)]
    store.claims.take(study.id, "one", NOW, 60)
    stamps.append(store.stamp(study.id))
    store.claims.renew(study.id, "one", LATER, 60)
    stamps.append(store.stamp(study.id))
    store.claims.release(study.id, "one")
    assert {*stamps, store.stamp(study.id)} == {stamps[0]}


def test_a_study_that_comes_after_a_discarded_one_has_another_stamp(store: Store) -> None:
    first = make_study(store)
    before = store.stamp(first.id)
    store.discard(first.id)
    with pytest.raises(Unknown, match=f"study has id {first.id}"):
        store.stamp(first.id)
    again = store.create_study(name="a", spec={}, target="t", info={}, now=LATER)
    assert store.stamps() == {again.id: store.stamp(again.id)}
    assert store.stamp(again.id) != before
