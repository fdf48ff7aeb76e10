from __future__ import annotations

from tests.unit.dashboard.pictures.support import all_of, grown, points
from tuner.dashboard.pictures.levels import levels
from tuner.dashboard.views.study import StudyView


def test_every_level_is_in_the_levels(view: StudyView) -> None:
    held = sum(len(row.record.summary.levels) for row in view.rows if row.record.summary)
    assert len(points(all_of(view)["levels"])) == held


def test_of_many_trials_the_newest_hundred_are_shown(view: StudyView) -> None:
    picture = levels(grown(view, 300))
    assert picture is not None
    assert {point["value"][0] for point in points(picture)} == set(range(200, 300))
    assert "Shown are those of the newest 100 of 300." in picture.text
