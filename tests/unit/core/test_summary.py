"""A measurement in short says what the level says that speaks for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.core.measurement import Answer, Level, Measurement, SloTest, Statistic
from tuner.core.summary import Summary
from tuner.core.workload import Load


def level(rate: float, answer: Answer) -> Level:
    test = SloTest("ttft p95 <= 500ms", answer, rate / 10, rate / 5 - 1)
    statistic = Statistic(100, *[rate / 10] * 6)
    return Level(
        Load(rate=rate), answer, (test,), 60 / rate, 100, {}, rate, 128 * rate, 640 * rate, {"ttft": statistic}
    )


def test_it_has_the_rates_statistics_and_tests_of_the_deciding_level() -> None:
    levels = (level(8.0, Answer.FAIL), level(4.0, Answer.PASS), level(6.0, Answer.UNCERTAIN))

    short = Summary.of(Measurement(levels, 640.0, 1))

    assert (short.value, short.load, short.answer) == (640.0, Load(rate=4.0), Answer.PASS)
    assert (short.request_rate, short.output_token_rate, short.total_token_rate) == (4.0, 512.0, 2560.0)
    assert short.statistics == levels[1].statistics
    assert short.tests == levels[1].tests


def test_it_has_load_answer_and_length_of_every_level_in_their_order() -> None:
    short = Summary.of(Measurement((level(8.0, Answer.FAIL), level(4.0, Answer.PASS)), None, 0))

    assert [(one.load.rate, one.answer, one.duration_s) for one in short.levels] == [
        (8.0, Answer.FAIL, 7.5), (4.0, Answer.PASS, 15.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("saturated", "foreign", "void"),
    [(False, False, False), (True, False, True), (False, True, True), (False, None, False)],
)
def test_a_level_that_says_nothing_of_the_engine_is_void(saturated: bool, foreign: bool | None, void: bool) -> None:
    one = replace(level(4.0, Answer.PASS), saturated=saturated, foreign=foreign)

    assert Summary.of(Measurement((one,), None, 0)).levels[0].void is void
