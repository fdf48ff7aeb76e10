from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.dashboard.pictures.support import all_of, changed, points, series
from tuner.core.measurement import Verdict
from tuner.dashboard.pictures.picture import Picture
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind, TrialRecord


def _tradeoffs(view: StudyView) -> list[Picture]:
    found = [picture for name, picture in all_of(view).items() if name.startswith("tradeoff")]
    assert found
    return found


def _front(picture: Picture) -> list[Any]:
    return list(series(picture).get("best trade-offs", {}).get("data", []))


def test_no_trial_of_the_front_is_worse_than_another_in_both(view: StudyView) -> None:
    for picture in _tradeoffs(view):
        everything = [point["value"] for point in points(picture)]
        for rate, latency in _front(picture):
            assert not any(r >= rate and t < latency for r, t in everything)


def test_what_broke_an_slo_is_no_trade_off_that_anyone_may_have(view: StudyView) -> None:
    def broke(trial: TrialRecord) -> TrialRecord:
        search = trial.kind is TrialKind.SEARCH and trial.summary is not None
        return replace(trial, verdict=Verdict(None, {"ttft p95 <= 1s": 0.5})) if search else trial

    for picture in _tradeoffs(changed(view, broke)):
        infeasible = [point["value"] for point in series(picture)["infeasible"]["data"]]
        assert infeasible
        assert not [end for end in _front(picture) if end in infeasible]


def test_groups_differ_by_symbol_too(view: StudyView) -> None:
    for picture in _tradeoffs(view):
        symbols = [one["symbol"] for name, one in series(picture).items() if name != "best trade-offs"]
        assert len(symbols) > 2
        assert len(symbols) == len(set(symbols))
