"""Pictures say what the study says, in numbers that a browser reads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.unit.dashboard.pictures.support import all_of, grown, points
from tuner.dashboard import pictures
from tuner.dashboard.views.study import StudyView
from tuner.dashboard.views.trial import TrialView


def test_a_study_has_all_of_them_and_each_is_plain_data(view: StudyView) -> None:
    found = all_of(view)
    assert {"interval", "confirmation", "progress", "levels", "slice-max_num_seqs", "timeline"} <= set(found)
    for picture in found.values():
        json.dumps(picture.option, allow_nan=False)
        assert picture.title
        assert picture.text.endswith(".")
        assert picture.rows
        assert all(len(row) == len(picture.columns) for row in picture.rows)


def test_a_study_that_has_nothing_yet_has_none(view: StudyView) -> None:
    assert pictures.of_study(StudyView(replace(view.study, result=None), ())) == []


def test_a_file_leads_nowhere_else(view: StudyView) -> None:
    for picture in all_of(replace(view, alone=True)).values():
        assert all(point.get("href", "#").startswith("#") for point in points(picture))


@pytest.mark.parametrize("number", [0, 1])
def test_a_trial_s_pictures(view: StudyView, number: int) -> None:
    found = pictures.of_trial(TrialView(view, view.trials[number], None))
    assert found == []  # read in short, there is nothing to see


def test_a_thousand_trials_weigh_little_and_tables_say_where_they_are_cut(view: StudyView) -> None:
    found = all_of(grown(view, 1000))
    assert len([name for name in found if name.startswith("slice")]) == 5
    options = [picture.option for picture in found.values()]
    assert sum(len(json.dumps(one, separators=(",", ":"), ensure_ascii=False)) for one in options) < 300_000
    for name, picture in found.items():
        assert len(picture.rows) <= 200, name
        if len(picture.rows) == 200:
            assert "the newest 200 of " in picture.text, name
    by_number = [found[name] for name in found if found[name].columns[0] == "trial"]
    assert by_number
    assert all(picture.rows[-1][0] == "999" for picture in by_number)
