"""What the tests of pictures share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tuner.dashboard import pictures
from tuner.dashboard.pictures.picture import Picture
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind, TrialRecord


def all_of(view: StudyView) -> dict[str, Picture]:
    """A study's pictures by their names."""
    found = [picture for _, group in pictures.of_study(view) for picture in group]
    assert len({picture.name for picture in found}) == len(found)
    return {picture.name: picture for picture in found}


def series(picture: Picture) -> dict[str, dict[str, Any]]:
    """A picture's series by their names."""
    return {one["name"]: one for one in picture.option["series"]}


def points(picture: Picture) -> list[dict[str, Any]]:
    """The points that say what they are."""
    return [one for of in picture.option["series"] for one in of["data"] if isinstance(one, dict)]


def value(spot: Any) -> Any:
    """Where a point lies."""
    return spot["value"] if isinstance(spot, dict) else spot


def grown(view: StudyView, count: int) -> StudyView:
    """A study of so many trials of the search, each like the first that has a value; the settings vary."""
    like = next(row.record for row in view.rows if row.record.kind is TrialKind.SEARCH and row.value is not None)
    trials = [view.trials[0]]
    for number in range(1, count):
        turned = {name: 8 * (1 + (number + at) % 16) for at, name in enumerate(("max_num_seqs", "b", "c", "d", "e"))}
        trials.append(replace(like, id=number + 1, number=number, candidate=type(like.candidate).of(turned)))
    return StudyView(replace(view.study, result=None), trials)


def changed(view: StudyView, change: Callable[[TrialRecord], TrialRecord]) -> StudyView:
    """The same study with other trials."""
    return StudyView(view.study, [change(trial) for trial in view.trials])
