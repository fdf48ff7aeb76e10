from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.probe.records import record
from tuner.core.measurement import QUANTILES
from tuner.core.request import UNFINISHED
from tuner.core.slo import Metric
from tuner.probe.verdict.statistics import (
    errors_of,
    latencies,
    measured,
    percentiles,
    quantiles_of,
    rates_of,
    samples_of,
    statistics_of,
    work_share,
)


def test_latencies_follow_their_definitions() -> None:
    one = record(sent=2.0, ttft=0.3, gaps=(0.1, 0.2, 0.3), late=0.05)

    assert latencies(Metric.TTFT, [one]) == pytest.approx([0.3])  # from when it was due, not from when it was sent
    assert latencies(Metric.ITL, [one]) == pytest.approx([0.1, 0.2, 0.3])
    assert latencies(Metric.TPOT, [one]) == pytest.approx([0.2])
    assert latencies(Metric.E2E, [one]) == pytest.approx([0.9])


def test_statistics_are_numpys_percentiles_over_requests_that_did_their_work() -> None:
    values = np.random.default_rng(1).gamma(2, 0.1, 200)
    records = [record(i, ttft=value) for i, value in enumerate(values)]
    broken = record(200, ttft=99.0, error="timeout")

    found = statistics_of(samples_of([*records, broken]))["ttft"]

    assert found.count == 200
    assert (found.mean, found.max) == pytest.approx((values.mean(), values.max()))
    assert (found.p50, found.p90, found.p95, found.p99) == pytest.approx(np.percentile(values, [50, 90, 95, 99]))


def test_a_metric_without_observations_is_left_out() -> None:
    assert set(samples_of([record(gaps=())])) == {"ttft", "e2e"}
    assert samples_of([record(error="timeout")]) == {}


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_percentiles_of_sorted_values_are_numpys_to_the_bit(count: int) -> None:
    values = np.sort(np.random.default_rng(count).gamma(2, 0.1, count))

    assert percentiles(values, QUANTILES).tolist() == np.percentile(values, QUANTILES).tolist()


def test_a_distribution_keeps_four_digits_from_the_least_to_the_largest() -> None:
    records = [record(i, ttft=value) for i, value in enumerate([0.000123456, 0.0123456, 12.3456])]

    kept = quantiles_of(samples_of(records))["ttft"]

    assert len(kept) == len(QUANTILES)
    assert (kept[0], kept[50], kept[-1]) == (0.0001235, 0.01235, 12.35)


def test_gaps_stay_within_their_request() -> None:
    records = [record(0, gaps=(0.1, 0.2)), record(1, gaps=()), record(2, sent=9.0, gaps=(0.3,))]

    assert latencies(Metric.ITL, records) == pytest.approx([0.1, 0.2, 0.3])


def test_tokens_that_came_together_share_the_gap_before_them() -> None:
    one = replace(record(gaps=(0.3, 0.2)), event_tokens=(2, 3, 1), output_tokens=6)

    found = samples_of([one, record(1, gaps=(0.5,))])

    assert found["itl"] == pytest.approx([0.2, 0.3, 0.5])
    assert found["itl_per_token"] == pytest.approx([0.1, 0.1, 0.1, 0.2, 0.5])


def test_with_one_token_an_event_there_is_one_itl() -> None:
    assert "itl_per_token" not in samples_of([record(), record(1)])


def test_errors_are_counted_by_kind() -> None:
    records = [record(error="http 503: busy"), record(error="http 503: still busy"), record(error="timeout"), record()]

    assert errors_of(records) == {"http 503": 2, "timeout": 1}


@pytest.mark.parametrize(
    ("ok", "unfinished", "late", "share"),
    [
        (100, 0, 0, 1.0),
        (90, 0, 10, 0.9),
        (40, 60, 0, 1.0),  # nobody knows how they would have ended
        (30, 60, 10, 0.75),
        (0, 10, 0, 1.0),
        (0, 0, 0, 1.0),
    ],
)
def test_the_share_of_work_is_that_of_the_requests_whose_end_was_seen(
    ok: int, unfinished: int, late: int, share: float
) -> None:
    records = [record()] * ok + [record(error=UNFINISHED)] * unfinished + [record(error="timeout")] * late

    assert work_share(records) == pytest.approx(share)


def test_the_warm_up_is_left_out_by_plan() -> None:
    assert [r.planned.index for r in measured([record(i) for i in range(5)], 3)] == [3, 4]


def test_rates_leave_out_filling_and_emptying() -> None:
    # Two clients, each with a request of one second at a time, in step by half a second: 2 requests/s.
    records = [record(i, sent=0.5 * i, ttft=0.5, gaps=(0.25, 0.25)) for i in range(20)]

    rates = rates_of(records, warmup=4)

    # From the end of the fourth request (2.5 s) to the last send (9.5 s): requests 4 to 17 end.
    assert rates.window_s == pytest.approx(7.0)
    assert rates.requests == pytest.approx(2.0)
    assert rates.output_tokens == pytest.approx(6.0)
    assert rates.total_tokens == pytest.approx(26.0)
    assert (rates.begin_s, rates.before, rates.after, rates.whole) == (2.5, 4, 2, False)


def test_rates_of_everything_at_once_span_the_whole() -> None:
    records = [record(i, ttft=1.0 + i, gaps=()) for i in range(4)]

    rates = rates_of(records, warmup=0)

    assert rates.requests == pytest.approx(1.0)
    assert (rates.before, rates.after, rates.whole) == (0, 0, True)


def test_failed_requests_are_no_throughput() -> None:
    assert rates_of([record(i, error="timeout") for i in range(4)], warmup=0).requests == 0
