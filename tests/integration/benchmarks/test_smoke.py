"""Each benchmark runs, and says what it should, in its quick form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.benchmarks import capacity_search, confirmation, ground, overhead, search_regret, standin_speed


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tuner" / "benchmarks"


def test_the_search_is_compared_with_its_rivals(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search_regret.main(["--quick"])

    printed = capsys.readouterr().out
    assert "screened random" in printed
    assert re.search(r"\d+\.\d% / \d+\.\d%", printed)
    kept = len(list((cache / "regret").iterdir()))
    search_regret.main(["--quick"])
    assert len(list((cache / "regret").iterdir())) == kept
    assert capsys.readouterr().out == printed


def test_what_a_start_can_hold_is_found_from_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    capacity_search.main(["--quick"])

    printed = capsys.readouterr().out
    ratios = [float(found) for found in re.findall(r"from .* (\d\.\d\d) \(\d", printed)]
    assert len(ratios) == len(capacity_search.BEGINNINGS)
    assert all(0.75 < ratio < 1.25 for ratio in ratios)


def test_own_time_is_told_from_the_engines(capsys: pytest.CaptureFixture[str]) -> None:
    overhead.main(["--quick"])

    own = re.search(r"│ 3\s+│ (\d+\.\d+)", capsys.readouterr().out)
    assert own is not None
    assert 0 < float(own[1]) < 10


def test_the_stand_in_is_timed_from_outside(capsys: pytest.CaptureFixture[str]) -> None:
    standin_speed.main(["--quick"])

    flat_out, paced = re.findall(r"^│ 8 streams, .*$", capsys.readouterr().out, re.MULTILINE)
    per_core = [float(text.split("│")[3].replace(",", "")) for text in (flat_out, paced)]
    assert all(100 < tokens < 1e6 for tokens in per_core)
    assert 0 <= float(paced.split("│")[5]) <= float(paced.split("│")[6])


def test_a_rigged_finalist_is_as_much_better_as_it_should_be() -> None:
    scenario = confirmation.SCENARIOS[0]
    plain = ground.Yardstick(scenario, confirmation.RiggedTruth(1, 0.9, 0, noise=False), requests=300)

    base = plain.capacity(scenario.baseline)
    faster = plain.capacity(confirmation.finalist_of(scenario), base)

    assert 1.07 < faster / base < 1.2


def test_a_section_of_the_results_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("a\n<!-- x: written by the benchmark -->\nold\n<!-- end of x -->\nb\n", encoding="utf-8")

    ground.write_section("x", ground.markdown(("h", "i"), [("1", "2")]), path)

    expected = ["a", "<!-- x: written by the benchmark -->", "| h | i |", "| --- | ---: |", "| 1 | 2 |"]
    assert path.read_text(encoding="utf-8").splitlines() == [*expected, "<!-- end of x -->", "b"]
    with pytest.raises(LookupError, match="no section 'y'"):
        ground.write_section("y", [], path)


def test_the_results_document_has_a_place_for_every_benchmark() -> None:
    text = ground.DOCUMENT.read_text(encoding="utf-8")

    names = ("real engine", "cause latency", "capacity search", "confirmation", "search regret", "overhead")
    for name in (*names, "stand-in speed"):
        assert text.count(f"<!-- {name}: written by the benchmark -->") == 1
        assert text.count(f"<!-- end of {name} -->") == 1
