from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from tests.unit.probe.records import record
from tuner.core.measurement import Answer, Level, WarmupRule
from tuner.core.request import LevelRecords, RequestRecord
from tuner.core.slo import parse_slo
from tuner.core.workload import Load
from tuner.probe.job import Limits
from tuner.probe.verdict.level import LevelTest, Size, size_of
from tuner.store.codec import encode


def level_of(records: Sequence[RequestRecord], slo: str, *, lag_s: float = 0.0, read_lag_s: float = 0.0) -> Level:
    count = len(records)
    planned = tuple(one.planned for one in records)
    size = Size(warmup=0, count=count, timeout_s=30.0, max_s=100.0)
    test = LevelTest(Load(rate=10.0), (parse_slo(slo),), planned, size)
    return test.level(LevelRecords(tuple(records), count / 10, count, lag_s, read_lag_p99_s=read_lag_s))


def with_gaps(seconds: float) -> tuple[RequestRecord, ...]:
    return tuple(record(i, sent=0.1 * i, gaps=(seconds,) * 10) for i in range(200))


@pytest.mark.parametrize(
    ("gap_s", "lag_s", "void"),
    [
        (0.045, 0.022, True),  # without the delay it would have been 23 ms
        (0.045, 0.012, False),  # 33 ms
        (0.025, 0.022, False),  # passed in spite of it
        (0.032, 0.004, True),
        (0.032, 0.0014, False),  # no delay to speak of: at 30.6 ms nobody would call it kept
    ],
)
def test_a_level_is_void_where_the_probes_delay_alone_broke_a_promise(gap_s: float, lag_s: float, void: bool) -> None:
    level = level_of(with_gaps(gap_s), "itl p95 <= 30ms", read_lag_s=lag_s)

    assert level.saturated is void
    assert (level.answer is Answer.PASS) is (gap_s <= 0.03)


def test_a_delay_that_is_little_beside_the_bound_is_no_matter() -> None:
    records = tuple(record(i, sent=0.1 * i, ttft=0.505) for i in range(200))

    assert not level_of(records, "ttft p95 <= 500ms", lag_s=0.02).saturated
    assert level_of(records, "ttft p95 <= 500ms", lag_s=0.03).saturated


def test_a_late_send_says_nothing_of_the_gaps_between_tokens() -> None:
    assert not level_of(with_gaps(0.045), "itl p95 <= 30ms", lag_s=0.022).saturated


def test_a_proof_is_long_as_far_as_there_is_time_and_never_too_short_to_pass() -> None:
    slos = [parse_slo("ttft p95 <= 500ms")]
    limits = Limits(level_s=120, total_s=1800)

    usual, quick, slow = (size_of(Load(rate=rate), slos, limits, 1.0, proof=True).count for rate in (0.7, 50, 0.1))

    assert usual == pytest.approx(0.7 * 1800 / 6, abs=1)
    assert quick == size_of(Load(rate=50), slos, limits, 1.0).count  # long enough as it is
    assert slow == size_of(Load(rate=0.1), slos, limits, 1.0).count
    assert slow >= 59


def test_clients_that_wait_go_on_until_as_many_have_ended_as_can_pass_and_no_longer() -> None:
    size = size_of(Load(concurrency=8), [parse_slo("ttft p95 <= 500ms")], Limits(level_s=30, total_s=90), 2.0)
    assert (size.enough_s, size.max_s) == (30, 72)
    assert size_of(Load(concurrency=8), [], Limits(level_s=30, total_s=90), 2.0).max_s == 30
    planned = tuple(record(i).planned for i in range(size.requests))

    def ends_at_a_look(ended: int, at_s: float) -> bool:
        test = LevelTest(Load(concurrency=8), (parse_slo("ttft p95 <= 500ms"),), planned, size)
        records = [record(i, sent=at_s * i / ended, ttft=0.1 if i % 12 else 0.9) for i in range(ended)]
        return test.stop(records)

    assert not ends_at_a_look(size.least, 31)  # some were the warm-up
    assert not ends_at_a_look(size.warmup + size.least + 9, 29)
    assert ends_at_a_look(size.warmup + size.least + 9, 31)


def test_a_level_says_what_it_left_out_and_why() -> None:
    records = tuple(record(i, sent=0.1 * i, ttft=0.95, gaps=(0.05, 0.05)) for i in range(200))

    window = level_of(records, "ttft p95 <= 2s").window

    assert window is not None
    assert window.rule is WarmupRule.UNTIL_FULL
    assert (window.warmup_requests, window.measured_from_s) == (11, pytest.approx(1.1))
    assert (window.begin_s, window.end_s) == (pytest.approx(2.05), pytest.approx(19.85))
    assert (window.warmup_ended, window.cooldown_ended, window.whole) == (11, 11, False)


def test_a_level_that_ends_early_says_the_same_of_the_same_requests() -> None:
    planned = tuple(record(i, sent=0.1 * i).planned for i in range(400))
    # Every tenth takes ten seconds, so of those due in the last ten only the quick ones have ended.
    all_of_them = [record(i, sent=0.1 * i, ttft=10.0 if i % 10 == 0 else 0.5) for i in range(400)]
    ended = tuple(one for one in all_of_them if one.end_s < 30.0)
    size = Size(warmup=0, count=400, timeout_s=30.0, max_s=100.0)

    level = LevelTest(Load(rate=10.0), (parse_slo("ttft p95 <= 2s"),), planned, size).level(
        LevelRecords(ended, 30.0, len(ended))
    )

    (test,) = level.tests
    assert test.observed == pytest.approx(level.statistics["ttft"].p95) == pytest.approx(10.0)
    assert level.requests == test.count == level.statistics["ttft"].count
    assert level.window is not None
    assert level.requests + level.window.warmup_requests + level.window.late_requests == len(ended)
    assert level.window.late_requests > 50


def test_a_level_has_the_pictures_of_it() -> None:
    level = level_of(with_gaps(0.02), "itl p95 <= 30ms")

    assert level.goodput is not None
    assert level.goodput.request_rate == pytest.approx(level.request_rate)
    assert set(level.quantiles) == set(level.statistics) == {"ttft", "itl", "tpot", "e2e"}
    assert level.timeline is not None
    assert sum(level.timeline.sent) == 200
    assert level.server is None
    (test,) = level.tests
    assert test.observed_low == test.observed_high == pytest.approx(0.02)


def test_a_level_of_many_tokens_is_kept_in_some_ten_kilobytes() -> None:
    rng = np.random.default_rng(1)
    records = tuple(
        record(i, sent=0.1 * i, ttft=rng.gamma(2, 0.1), gaps=tuple(rng.gamma(3, 0.01, 100))) for i in range(1000)
    )

    assert len(json.dumps(encode(level_of(records, "itl p95 <= 30ms")))) < 10_000
