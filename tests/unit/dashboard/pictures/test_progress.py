from __future__ import annotations

import pytest

from tests.unit.dashboard.pictures.support import series
from tuner.dashboard.pictures.progress import progress
from tuner.dashboard.views.study import StudyView


def test_the_best_so_far_is_drawn_until_now(view: StudyView) -> None:
    picture = progress(view)
    assert picture is not None
    assert series(picture)["best so far"]["data"][-1] == [view.gpu_minutes, view.incumbents[-1][1]]
    assert "Random" not in picture.text
    assert {row[0] for row in picture.rows} == {"this study"}


@pytest.mark.parametrize("share", [0.3, 2.0])
def test_random_search_ends_where_it_ended(view: StudyView, share: float) -> None:
    end = view.gpu_minutes * share
    random = [(0.1, 100.0), (0.2, 150.0), (end, 150.0)]
    picture = progress(view, random)
    assert picture is not None
    assert series(picture)["random search"]["data"] == [list(one) for one in random]
    assert f"came to {view.written(150.0)} in {end:.1f}." in picture.text
    assert [row[0] for row in picture.rows].count("random search") == 3
    assert ("random search", "0.2000", "150.0") in picture.rows
