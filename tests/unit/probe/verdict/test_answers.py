from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from tests.unit.probe.records import record, ttfts
from tuner.core.measurement import Answer, SloTest
from tuner.core.request import RequestRecord
from tuner.core.slo import parse_slo
from tuner.probe.verdict.answers import Stage, answer_of, hopeless, interval_of
from tuner.probe.verdict.observations import observe
from tuner.probe.verdict.spending import ALPHA, ON_FAIL, ON_PASS, Spending, looks_of

P95 = parse_slo("ttft p95 <= 500ms")
ONE_LOOK = Stage(ALPHA, ALPHA)


def answer(slo: str, records: Sequence[RequestRecord], stage: Stage = ONE_LOOK) -> SloTest:
    parsed = parse_slo(slo)
    return answer_of(parsed, observe(parsed, records, 30.0), stage)


def test_59_clean_requests_pass_a_p95_and_58_do_not() -> None:
    assert answer("ttft p95 <= 500ms", ttfts([0.1] * 59)).answer is Answer.PASS
    assert answer("ttft p95 <= 500ms", ttfts([0.1] * 58)).answer is Answer.UNCERTAIN


def test_400_requests_allow_12_exceedances_that_are_spread_out() -> None:
    spread = [0.6 if i % 33 == 10 else 0.1 for i in range(400)]
    clumped = [0.6 if 100 <= i < 112 else 0.1 for i in range(400)]

    assert sum(value > 0.5 for value in spread) == 12
    assert answer("ttft p95 <= 500ms", ttfts(spread)).answer is Answer.PASS
    assert answer("ttft p95 <= 500ms", ttfts(clumped)).answer is Answer.UNCERTAIN


def test_failures_exceed_every_bound() -> None:
    records = [record(i, sent=i, error="missing tokens" if i % 4 == 0 else None) for i in range(60)]

    for slo in ("ttft p95 <= 500ms", "itl p99 <= 1s", "tpot p90 <= 1s", "e2e p95 <= 8s", "error rate <= 5%"):
        test = answer(slo, records)
        assert test.answer is Answer.FAIL, slo
        assert test.violation > 0
    assert answer("ttft mean <= 500ms", records).answer is Answer.FAIL


def test_violations_are_relative_and_signed() -> None:
    assert answer("ttft p95 <= 500ms", ttfts([0.4] * 60)).violation == pytest.approx(-0.2)
    assert answer("ttft p95 <= 500ms", ttfts([0.75] * 60)).violation == pytest.approx(0.5)
    assert answer("ttft p95 <= 500ms", []).violation == 1.0
    assert answer("error rate <= 0%", ttfts([0.1] * 60)).violation == 0.0


def test_means_are_tested_by_batches() -> None:
    rng = np.random.default_rng(3)

    assert answer("ttft mean <= 500ms", ttfts(rng.normal(0.4, 0.05, 100))).answer is Answer.PASS
    assert answer("ttft mean <= 500ms", ttfts(rng.normal(0.6, 0.05, 100))).answer is Answer.FAIL
    assert answer("ttft mean <= 500ms", ttfts(rng.normal(0.5, 0.2, 100))).answer is Answer.UNCERTAIN
    assert answer("ttft mean <= 500ms", ttfts([0.1] * 5)).answer is Answer.UNCERTAIN


def test_a_promise_too_strict_to_prove_holds_while_nothing_breaks_it() -> None:
    clean, one = ttfts([0.1] * 100), ttfts([0.1] * 99 + [0.7])

    assert answer("ttft max <= 500ms", clean).answer is Answer.PASS
    assert answer("ttft max <= 500ms", one).answer is Answer.FAIL
    assert answer("error rate <= 0.1%", clean).answer is Answer.PASS
    broken = answer("error rate <= 0.1%", [*clean, record(100, sent=11, error="timeout")])
    assert broken.answer is not Answer.PASS
    assert answer("ttft max <= 500ms", ttfts([0.1] * 5)).answer is Answer.UNCERTAIN


def test_a_promise_too_strict_to_prove_is_watched_for_as_long_as_others_and_fails_at_once() -> None:
    early = Stage(pass_alpha=0.0, fail_alpha=0.0)
    for slo in ("ttft max <= 500ms", "error rate <= 0.1%"):
        assert answer(slo, ttfts([0.1] * 100), early).answer is Answer.UNCERTAIN
    assert answer("ttft max <= 500ms", ttfts([0.1] * 20 + [0.7]), early).answer is Answer.FAIL


def test_undecided_requests_stand_in_the_way_of_pass_but_do_not_fail() -> None:
    running = [record(100 + i, sent=10, ttft=0.05, error="unfinished", gaps=()) for i in range(20)]
    records = [*ttfts([0.1] * 100), *running]

    assert answer("e2e p95 <= 5s", ttfts([0.1] * 100)).answer is Answer.PASS
    assert answer("e2e p95 <= 5s", records).answer is Answer.UNCERTAIN
    # Their first token is there, in time.
    assert answer("ttft p95 <= 500ms", records).answer is Answer.PASS


def test_gaps_of_streams_that_run_together_are_not_independent() -> None:
    records = [record(i, sent=0.1 * i, gaps=(0.01,) * 20) for i in range(30)]

    assert answer("itl p99 <= 50ms", records).answer is Answer.PASS
    assert answer("itl p99 <= 50ms", records, Stage(ALPHA, ALPHA, concurrency=16)).answer is not Answer.FAIL
    slow = [record(i, sent=0.1 * i, gaps=(0.01,) * 19 + (0.2,)) for i in range(100)]
    assert answer("itl p99 <= 50ms", slow).answer is Answer.FAIL


def test_requests_that_are_alike_do_not_pass_near_the_bound() -> None:
    walk = np.cumsum(np.random.default_rng(2).normal(size=400))
    walk = (walk - walk.min()) / np.ptp(walk)

    assert answer("ttft p95 <= 500ms", ttfts(0.3 + 0.15 * walk)).answer is Answer.UNCERTAIN
    assert answer("ttft p95 <= 500ms", ttfts(0.3 + 0.002 * walk)).answer is Answer.PASS  # of no matter


def test_requests_that_are_alike_pass_where_the_bound_is_out_of_reach() -> None:
    spread = np.random.default_rng(5).normal(size=20)
    batch = np.repeat(0.25 + 0.02 * spread, 20)  # the same for all of a batch

    assert answer("ttft p95 <= 1s", ttfts(batch)).answer is Answer.PASS
    assert answer("ttft p95 <= 300ms", ttfts(batch)).answer is Answer.UNCERTAIN
    # Some requests are of another kind: the tail of the others says nothing of them.
    mixed = np.where(np.arange(400) % 25 == 0, 1.01, batch)
    assert answer("ttft p95 <= 1s", ttfts(mixed)).answer is Answer.UNCERTAIN


def test_the_many_gaps_of_a_few_requests_refute_nothing() -> None:
    slow = [record(i, sent=i / 10, gaps=(0.1,) * 250) for i in range(20)]
    assert answer("itl p99 <= 50ms", slow[:19]).answer is Answer.UNCERTAIN
    assert answer("itl p99 <= 50ms", slow).answer is Answer.FAIL


def test_a_mean_of_many_gaps_has_a_thin_tail() -> None:
    spread = np.random.default_rng(5).normal(size=20)
    records = [record(i, sent=0.1 * i, gaps=(0.020 + 0.001 * spread[i // 20],) * 5) for i in range(400)]

    assert answer("tpot p95 <= 30ms", records).answer is Answer.PASS
    assert answer("tpot p95 <= 22ms", records).answer is Answer.UNCERTAIN


def test_what_grows_has_not_shown_how_far() -> None:
    assert answer("ttft p95 <= 300ms", ttfts(np.linspace(0.13, 0.16, 400))).answer is Answer.UNCERTAIN


def test_what_can_only_be_watched_is_hopeless_once_it_was_broken() -> None:
    once = ttfts([0.1] * 99 + [0.7])

    for slo, lost in (("ttft max <= 500ms", True), ("ttft max <= 1s", False), ("ttft p95 <= 500ms", False)):
        assert hopeless(parse_slo(slo), observe(parse_slo(slo), once, 30.0)) is lost


def test_looks_spend_what_there_is_for_each_answer() -> None:
    spending = Spending()
    looks = [spending.look(seen / 400, may_pass=seen >= 76) for seen in (25, 50, 100, 90, 150, 200, 400, 500)]

    assert sum(look.pass_alpha for look in looks) == pytest.approx(ON_PASS)
    assert sum(look.fail_alpha for look in looks) == pytest.approx(ON_FAIL)
    assert looks[1].pass_alpha == 0
    assert looks[2].pass_alpha == pytest.approx(ON_PASS / 16)
    assert looks[3].fail_alpha == 0  # what is due has not doubled
    assert looks[6].fail_alpha >= ON_FAIL / 2


def test_looks_are_planned_over_all_that_may_be_sent() -> None:
    looks = looks_of(10, 400, 2000)

    assert looks[0] == 40
    assert looks[-1] > 1600
    assert all(later <= 1.3 * sooner for sooner, later in pairwise(looks))
    assert looks_of(5, 15, 20) == ()


def first_answer(values: np.ndarray) -> Answer:  # type: ignore[type-arg]
    """The answer of a level that is looked at as planned and ends with its first certain answer."""
    spending = Spending()
    for count in (*looks_of(0, len(values), len(values)), len(values)):
        look = spending.look(count / len(values), may_pass=count >= 72)
        stage = Stage(look.pass_alpha, look.fail_alpha)
        found = answer_of(P95, observe(P95, ttfts(values[:count]), 30.0), stage).answer
        if found is not Answer.UNCERTAIN:
            return found
    return Answer.UNCERTAIN


def independent(rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    return rng.standard_normal(400)


def neighbours_alike(rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    """A stationary series in which a request is like the one before (correlation 0.8)."""
    noise = rng.standard_normal(400)
    for i in range(1, 400):
        noise[i] = 0.8 * noise[i - 1] + 0.6 * noise[i]
    return noise


@pytest.mark.parametrize("draw", [independent, neighbours_alike])
def test_at_the_boundary_each_wrong_answer_comes_in_at_most_five_percent(
    draw: Callable[[np.random.Generator], np.ndarray],  # type: ignore[type-arg]
) -> None:
    rng = np.random.default_rng(11)
    boundary = 1.6448536  # exactly 5 % of a standard normal exceed this
    runs = 120

    answers = [first_answer(0.5 + 0.05 * (draw(rng) - boundary)) for _ in range(runs)]

    # 5 % of 120 are 6; more than 10 would come by chance in 5 % of such tests.
    assert answers.count(Answer.PASS) <= 10
    assert answers.count(Answer.FAIL) <= 10


def test_clear_levels_get_clear_answers() -> None:
    rng = np.random.default_rng(12)

    passed = [first_answer(0.5 + 0.05 * (independent(rng) - 2.4)) for _ in range(40)]
    failed = [first_answer(0.5 + 0.05 * (independent(rng) - 1.1)) for _ in range(40)]

    assert passed.count(Answer.PASS) >= 38
    assert failed.count(Answer.FAIL) >= 38


def interval(slo: str, records: Sequence[RequestRecord]) -> tuple[float | None, float | None]:
    parsed = parse_slo(slo)
    return interval_of(parsed, observe(parsed, records, 30.0), ONE_LOOK)


@pytest.mark.parametrize(
    ("slo", "true"), [("ttft p50 <= 1s", 0.6931), ("ttft p95 <= 9s", 2.9957), ("ttft mean <= 9s", 1)]
)
def test_95_percent_of_intervals_hold_the_true_statistic(slo: str, true: float) -> None:
    rng = np.random.default_rng(7)
    intervals = [interval(slo, ttfts(rng.exponential(1.0, 300))) for _ in range(200)]

    held = sum(low is not None and high is not None and low <= true <= high for low, high in intervals)

    assert 0.9 <= held / len(intervals) <= 0.995


def test_neighbours_that_are_alike_tell_less() -> None:
    values = np.random.default_rng(5).exponential(0.2, 400)
    low, high = interval("ttft p90 <= 500ms", ttfts(values))
    lower, higher = interval("ttft p90 <= 500ms", ttfts(np.repeat(values[:40], 10)))

    assert low is not None
    assert high is not None
    assert lower is not None
    assert higher is None or higher - lower > 1.5 * (high - low)


def test_a_level_too_short_for_a_side_leaves_it_open() -> None:
    low, high = interval("ttft p99 <= 500ms", ttfts([0.1] * 50))

    assert (low, high) == (pytest.approx(0.1), None)
    assert interval("ttft max <= 500ms", ttfts([0.1] * 50)) == (None, None)
    assert interval("ttft mean <= 500ms", ttfts([0.1] * 5)) == (None, None)
    assert interval("ttft p95 <= 500ms", []) == (None, None)


def test_an_error_rate_of_none_in_many_has_an_upper_end() -> None:
    low, high = interval("error rate <= 5%", ttfts([0.1] * 100))

    assert (low, high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
