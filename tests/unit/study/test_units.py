"""Values as people read them."""

from __future__ import annotations

import pytest

from tuner.core.measurement import Answer, Level, SloTest
from tuner.core.workload import Count, Load, Objective, ObjectiveKind
from tuner.study import units

CAPACITY = Objective(ObjectiveKind.CAPACITY, Count.OUTPUT_TOKENS)
HEADROOM = Objective(ObjectiveKind.HEADROOM, rate=5.0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1036.7, "1,037"), (12.1344, "12.13"), (0.5, "0.5000"), (123456.0, "123,456"), (0.0, "0"), (9.978, "9.978")],
)
def test_numbers_have_four_digits_and_no_exponent(value: float, shown: str) -> None:
    assert units.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0000004, "0.4 us"), (0.0123, "12.3 ms"), (1.2, "1.2 s"), (75.0, "75 s")]
)
def test_latencies_have_a_fitting_unit(value: float, shown: str) -> None:
    assert units.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3599.7, "1 h 00 min"), (7800, "2 h 10 min")],
)
def test_time_spans(value: float, shown: str) -> None:
    assert units.duration(value) == shown


def test_a_guess_of_a_time_span_has_no_seconds() -> None:
    assert units.roughly(1800) == "30 min"
    assert units.roughly(40) == "40 s"
    assert units.roughly(6000) == "1 h 40 min"


def test_a_gain_needs_both_values() -> None:
    assert units.gain(110.0, 100.0, CAPACITY) == "+10.0%"
    assert units.gain(250.0, 100.0, CAPACITY) == "+150%"
    assert units.gain(95.0, 100.0, CAPACITY) == "-5.0%"
    assert units.gain(None, 100.0, CAPACITY) == units.gain(110.0, None, CAPACITY) == ""


def test_a_gain_in_headroom_is_that_of_the_answer() -> None:
    assert units.gain(0.44, 0.04, HEADROOM) == "+71.4%"  # not tenfold
    assert units.gain(0.2, 0.0, HEADROOM) == "+25.0%"


def test_an_objective_names_its_unit() -> None:
    assert units.objective_value(1036.7, CAPACITY) == "1,037 output-tokens/s"
    requests = Objective(ObjectiveKind.CAPACITY, Count.REQUESTS, None, None)
    assert units.objective_value(9.5, requests) == "9.500 req/s"
    assert units.objective_value(0.4444, HEADROOM) == "44.4% headroom"
    assert units.objective_value(None, CAPACITY) == "—"


def test_what_a_trial_changed_is_spelt_as_in_a_study() -> None:
    assert units.changed({"enable_prefix_caching": False, "max_num_seqs": 64}) == (
        "enable_prefix_caching=false max_num_seqs=64"
    )
    assert units.changed({}) == "as found"


def _level(**more: object) -> Level:
    tests = (
        SloTest("ttft p95 <= 500ms", Answer.PASS, 0.104, -0.8),
        SloTest("error rate <= 0.1%", Answer.UNCERTAIN, 0.002, 1.0),
        SloTest("itl p99 <= 50ms", Answer.UNCERTAIN, None, 1.0),
    )
    facts = {"load": Load(rate=9.978), "answer": Answer.UNCERTAIN, "tests": tests, "errors": {"http 500": 2}, **more}
    return Level(
        duration_s=10.0,
        requests=43,
        request_rate=4.0,
        output_token_rate=1.0,
        total_token_rate=2.0,
        statistics={},
        **facts,
    )  # type: ignore[arg-type]


def test_a_level_tells_each_statistic_against_its_bound_and_every_error() -> None:
    assert units.level(_level()) == (
        "9.978 req/s: uncertain (43 requests; ttft p95 104 ms of 500ms, error rate 0.20% of 0.1%, "
        "itl p99 unknown of 50ms, 2 http 500)"
    )


def test_a_level_without_promises_or_errors_says_only_its_load() -> None:
    assert units.level(_level(tests=(), errors={})) == "9.978 req/s: measured (43 requests)"


def test_a_void_level_says_why() -> None:
    assert "void: the probe was too slow" in units.level(_level(saturated=True))
    assert "void: foreign traffic" in units.level(_level(foreign=True))
