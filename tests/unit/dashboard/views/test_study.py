from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind
from tuner.study.standing import incumbent, value_of


def test_the_best_so_far_only_rises_and_ends_at_the_incumbent(view: StudyView) -> None:
    steps = view.incumbents
    assert [value for _, value in steps] == sorted(value for _, value in steps)
    assert [minutes for minutes, _ in steps] == sorted(minutes for minutes, _ in steps)
    assert steps[-1][1] == value_of(incumbent(view.trials))
    assert view.gpu_minutes == pytest.approx(view.overview["gpu_minutes"], abs=0.01)


def test_a_failure_is_told_by_its_cause_and_costs_nobody_a_value(view: StudyView) -> None:
    ((cause, rows),) = view.failures.items()
    assert cause == "gpu-oom-at-start"
    assert [row.value for row in rows] == [None]
    assert rows[0].outcome == "failed"


def test_a_study_with_nothing_in_it_yet_has_a_page(view: StudyView) -> None:
    empty = StudyView(replace(view.study, result=None), ())
    assert empty.rows == []
    assert empty.incumbents == []
    assert empty.recommendation.settings is None
    assert empty.recommendation.changes == []
    assert empty.recommendation.room == ((), ())
    assert empty.best == "—"
    assert empty.importance is None
    assert empty.gpu_minutes == 0


def test_one_that_is_interrupted_is_not_live(view: StudyView) -> None:
    from tuner.store import StudyState

    under_way = replace(
        view.study, state=StudyState.SEARCHING, holder="elsewhere:1:x", claimed_until=datetime(2999, 1, 1, tzinfo=UTC)
    )
    assert StudyView(under_way, ()).live
    assert not StudyView(replace(under_way, claimed_until=datetime(2000, 1, 1, tzinfo=UTC)), ()).live
    assert not view.live


def test_rows_are_the_trials_with_their_gain_against_what_was_found(view: StudyView) -> None:
    assert [row.number for row in view.rows] == [trial.number for trial in view.trials]
    for row in view.rows:
        if row.record.kind is TrialKind.SEARCH and row.value is not None:
            assert view.baseline_value is not None
            assert row.gain == pytest.approx(row.value / view.baseline_value - 1)
    (best,) = [row for row in view.rows if row.incumbent]
    assert best.value == max(row.value for row in view.rows if row.value and row.record.kind is not TrialKind.CONFIRM)
