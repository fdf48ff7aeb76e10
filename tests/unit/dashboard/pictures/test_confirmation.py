from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.dashboard.pictures.support import all_of, points, series
from tuner.dashboard.pictures.confirmation import interval
from tuner.dashboard.pictures.picture import Picture
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind


def _interval(view: StudyView, gain: float, low: float, high: float, smallest: float = 0.05) -> Picture:
    spec = {**view.study.spec, "budget": {**view.study.spec["budget"], "smallest_gain": smallest}}
    result = {**(view.study.result or {}), "gain": gain, "interval": [low, high]}
    picture = interval(StudyView(replace(view.study, spec=spec, result=result), view.trials))
    assert picture is not None
    return picture


def test_the_interval_is_the_answer_s(view: StudyView) -> None:
    picture = interval(view)
    assert picture is not None
    (gain,) = points(picture)
    assert gain["value"][0] == pytest.approx(view.result["gain"], rel=1e-5)
    assert [point[0] for point in picture.option["series"][0]["data"]] == list(view.result["interval"])


@pytest.mark.parametrize(
    ("gain", "low", "high"),
    [(0.002, 0.001, 0.0031), (0.73, 0.61, 0.88), (12.3, 4.5, 31.7), (-0.0004, -0.0011, 0.0002), (0.0, 0.0, 0.0)],
)
@pytest.mark.parametrize("smallest", [0.0, 0.005])
def test_nothing_is_off_the_axis_and_little_of_it_is_empty(
    view: StudyView, gain: float, low: float, high: float, smallest: float
) -> None:
    axis = _interval(view, gain, low, high, smallest).option["xAxis"]
    shown = (low, high, 0.0, smallest)
    assert axis["min"] <= min(shown)
    assert axis["max"] >= max(shown)
    if low < high:
        assert axis["max"] - axis["min"] <= 1.5 * (max(shown) - min(shown))


def test_small_gains_are_written_with_the_digits_that_they_need(view: StudyView) -> None:
    picture = _interval(view, 0.0123, 0.0119, 0.0127, smallest=0.005)
    assert "+1.23%" in picture.text
    assert "between +1.19% and +1.27%" in picture.text
    assert "a gain matters from +0.5%." in picture.text
    assert "any gain matters." in _interval(view, 0.1, 0.05, 0.15, smallest=0.0).text


def test_every_fresh_start_with_a_value_is_in_the_confirmation(view: StudyView) -> None:
    picture = all_of(view)["confirmation"]
    values = [row.value for row in view.rows if row.record.kind is TrialKind.CONFIRM and row.value is not None]
    assert sorted(point["value"][1] for point in points(picture)) == pytest.approx(sorted(values), rel=1e-5)
    assert set(series(picture)) == {"baseline", "finalist"}
