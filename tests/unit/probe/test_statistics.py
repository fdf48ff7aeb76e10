from __future__ import annotations

import numpy as np
import pytest

from tests.unit.probe.records import record
from tuner.core.slo import Metric
from tuner.probe.statistics import errors_of, latencies, measured, rates_of, statistics_of


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

    found = statistics_of([*records, broken])["ttft"]

    assert found.count == 200
    assert (found.mean, found.max) == pytest.approx((values.mean(), values.max()))
    assert (found.p50, found.p90, found.p95, found.p99) == pytest.approx(np.percentile(values, [50, 90, 95, 99]))


def test_a_metric_without_observations_is_left_out() -> None:
    assert set(statistics_of([record(gaps=())])) == {"ttft", "e2e"}
    assert statistics_of([record(error="timeout")]) == {}


def test_errors_are_counted_by_kind() -> None:
    records = [record(error="http 503: busy"), record(error="http 503: still busy"), record(error="timeout"), record()]

    assert errors_of(records) == {"http 503": 2, "timeout": 1}


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


def test_rates_of_everything_at_once_span_the_whole() -> None:
    records = [record(i, ttft=1.0 + i, gaps=()) for i in range(4)]

    assert rates_of(records, warmup=0).requests == pytest.approx(1.0)


def test_failed_requests_are_no_throughput() -> None:
    assert rates_of([record(i, error="timeout") for i in range(4)], warmup=0).requests == 0
