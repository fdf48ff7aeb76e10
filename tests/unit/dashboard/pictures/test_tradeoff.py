from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.dashboard.pictures.support import all_of, changed, points, series
from tuner.core.measurement import Verdict
from tuner.core.workload import Load
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


def test_the_load_of_each_trial_is_told(view: StudyView) -> None:
    def fewer(trial: TrialRecord) -> TrialRecord:
        other = trial.summary and replace(trial.summary, load=Load(concurrency=4))
        return replace(trial, summary=other if trial.number else trial.summary)

    assert all(", all at concurrency 64;" in picture.text for picture in _tradeoffs(view))
    for picture in _tradeoffs(changed(view, fewer)):
        assert "each at the load that speaks for it" in picture.text
        assert [row[2] for row in picture.rows][:2] == ["concurrency 64", "concurrency 4"]


def test_groups_differ_by_symbol_too(view: StudyView) -> None:
    for picture in _tradeoffs(view):
        symbols = [one["symbol"] for name, one in series(picture).items() if name != "best trade-offs"]
        assert len(symbols) > 2
        assert len(symbols) == len(set(symbols))
