from __future__ import annotations

from tests.unit.dashboard.pictures.support import all_of, points, series
from tuner.dashboard.pictures.knobs import importance
from tuner.dashboard.views.study import StudyView
from tuner.study.importance import Importance


def test_what_failed_lies_on_the_ground(view: StudyView) -> None:
    failed = [point for point in points(all_of(view)["slice-max_num_seqs"]) if "gpu-oom-at-start" in point["text"]]
    assert [point["value"][1] for point in failed] == [0.0]


def test_symbols_are_told_by_a_legend(view: StudyView) -> None:
    picture = all_of(view)["slice-max_num_seqs"]
    assert picture.option["legend"]["show"]
    assert series(picture)["failed"]["symbol"] == "arrow"


def test_only_what_stands_out_has_a_bar() -> None:
    picture = importance(Importance({"batch": 0.6}, 60, ("batch", "idle")))
    assert picture is not None
    assert picture.rows == [("batch", "60%"), ("idle", "not above chance")]
    assert [bar["value"] for bar in series(picture)["importance"]["data"]] == [0.0, 0.6]
    assert "differences in rank between 60 trials" in picture.text


def test_that_nothing_stands_out_is_said() -> None:
    picture = importance(Importance({}, 60, ("batch", "idle"), "No knob stands out among 60 trials."))
    assert picture is not None
    assert picture.text == "No knob stands out among 60 trials."
    assert all(bar["value"] == 0 for bar in series(picture)["importance"]["data"])
    assert importance(None) is None
