from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.unit.dashboard.pictures.support import all_of, changed, grown, points
from tuner.dashboard.pictures.phases import timeline
from tuner.dashboard.views.study import StudyView
from tuner.store import Phase, PhaseRecord, TrialRecord


def _killed(trial: TrialRecord) -> TrialRecord:
    """The same trial, once begun a day before and killed while it was measured."""
    if trial.number != 2:
        return trial
    before = [PhaseRecord(one.phase, one.began - timedelta(days=1)) for one in trial.phases]
    at = next(index for index, one in enumerate(before) if one.phase is Phase.PROBING)
    start = next(index for index, one in enumerate(trial.phases) if one.phase is Phase.STARTING)
    return replace(trial, phases=(*before[: at + 1], *trial.phases[start:]))


def test_the_time_between_a_kill_and_the_next_start_is_no_work(view: StudyView) -> None:
    whole, cut = timeline(view), timeline(changed(view, _killed))
    assert whole is not None
    assert cut is not None
    assert max(point["value"] for point in points(cut)) < 60
    assert "Between a kill and the start after it no time is counted." in cut.text
    assert "kill" not in whole.text


def test_red_is_where_a_trial_failed(view: StudyView) -> None:
    red = [point for point in points(all_of(view)["timeline"]) if point.get("itemStyle", {}).get("color") == "@fail"]
    assert len(red) == 1


def test_of_many_trials_the_newest_are_shown_from_where_they_begin(view: StudyView) -> None:
    many = grown(view, 500)
    late = [
        replace(
            one,
            phases=tuple(PhaseRecord(each.phase, each.began + timedelta(minutes=one.number)) for each in one.phases),
        )
        for one in many.trials
    ]
    picture = timeline(StudyView(many.study, late))
    assert picture is not None
    assert picture.option["xAxis"]["min"] >= 300
    assert picture.option["yAxis"]["data"][0] == "300"
    (slider,) = picture.option["dataZoom"]
    assert (slider["startValue"], slider["endValue"]) == (160, 199)
