from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tuner.dashboard.views.study import StudyView
from tuner.store import Decision, Review, TrialKind


def test_what_is_recommended_is_set_beside_what_was_found(view: StudyView) -> None:
    assert view.recommendation.settings is not None
    changed = {name: (before, after) for name, before, after in view.recommendation.changes}
    assert changed["max_num_seqs"][0] == "16"
    assert changed["max_num_seqs"][1] == str(view.recommendation.settings["max_num_seqs"])
    assert all(before != after for before, after in changed.values())


def test_the_last_word_counts(view: StudyView) -> None:
    def after(*decisions: Decision) -> StudyView:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return replace(view, reviews=tuple(Review(1, one, "", "Ada", now) for one in decisions))

    assert not view.recommendation.approved
    assert after(Decision.APPROVED).recommendation.approved
    assert not after(Decision.APPROVED, Decision.REJECTED).recommendation.approved
    assert after(Decision.REJECTED, Decision.APPROVED, Decision.APPLIED, Decision.UNDONE).recommendation.approved


def test_a_flag_that_the_winner_drops_is_a_change_too(view: StudyView) -> None:
    found = {"max_num_seqs": 16, "max_num_batched_tokens": 4096}
    study = replace(
        view.study,
        info={**view.study.info, "baseline": found},
        result={**view.result, "finalist": {"max_num_seqs": 64}},
    )
    changed = StudyView(study, view.trials).recommendation.changes
    assert changed == [("max_num_seqs", "16", "64"), ("max_num_batched_tokens", "4096", "engine default")]


def test_what_is_given_up_is_the_least_of_all_fresh_starts_with_the_load_they_held(view: StudyView) -> None:
    headings, rows = view.recommendation.room
    starts = [row for row in view.rows if row.record.kind is TrialKind.CONFIRM and row.margins]
    after = [row for row in starts if dict(row.record.candidate) == view.recommendation.settings]
    assert len(after) > 1
    assert headings[0] == "Promise"
    assert headings[2] == f"Recommended, the least of {len(after)} starts, at concurrency 64"
    assert [slo for slo, _, _ in rows] == list(view.promised)
    for slo, _, told in rows:
        assert told == f"{min(row.margins[slo] for row in after):+.0%}"
