from __future__ import annotations

from dataclasses import replace

from tuner.core.measurement import QUANTILES, Answer, Level, Statistic
from tuner.core.slo import parse_slo
from tuner.core.workload import Load
from tuner.dashboard.pictures.latency import distributions

_LEVEL = Level(
    Load(rate=1.0),
    Answer.PASS,
    (),
    60.0,
    100,
    {},
    1.0,
    64.0,
    80.0,
    {"ttft": Statistic(100, 0.2, 0.1, 0.2, 0.3, 0.4, 0.5)},
    quantiles={"ttft": tuple(percent / 200 for percent in QUANTILES)},
)


def test_levels_lie_on_each_other_with_what_was_promised_of_them() -> None:
    slos = [parse_slo("ttft p95 <= 500ms"), parse_slo("itl p95 <= 50ms")]
    (picture,) = distributions([("trial 1", _LEVEL), ("as found", _LEVEL), ("nothing", None)], slos)
    first, second = picture.option["series"]
    assert first["data"][0][1] > 0  # a logarithm has no zero
    assert first["data"][-1] == [100.0, 0.5]
    assert first["lineStyle"]["color"] != second["lineStyle"]["color"]
    assert [one["yAxis"] for one in first["markLine"]["data"]] == [0.5]
    assert picture.text.endswith(", at 1 req/s.")
    assert picture.rows[0] == ("trial 1, 1 req/s", "100 ms", "200 ms", "300 ms", "400 ms", "500 ms")


def test_levels_of_other_loads_are_told_apart() -> None:
    other = replace(_LEVEL, load=Load(rate=2.0))
    (picture,) = distributions([("trial 1", _LEVEL), ("as found", other)], [])
    assert [one["name"] for one in picture.option["series"]] == ["trial 1, 1 req/s", "as found, 2 req/s"]
    assert picture.text.endswith("; the loads differ.")


def test_without_a_level_there_is_nothing() -> None:
    assert list(distributions([("trial 1", None)], [])) == []
