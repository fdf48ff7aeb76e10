from __future__ import annotations

import pytest

from tests.unit.probe.records import record
from tuner.core.measurement import Goodput
from tuner.core.request import RequestRecord
from tuner.core.slo import parse_slo
from tuner.probe.verdict.goodput import goodput_of
from tuner.probe.verdict.statistics import Rates


def good(*slos: str, of: list[RequestRecord]) -> int:
    found = goodput_of([parse_slo(slo) for slo in slos], Rates(0.0, 0.0, 0.0, 10.0, tuple(of)))
    assert found is not None
    return found.requests


def test_a_percentiles_bound_is_each_requests_own() -> None:
    records = [record(i, ttft=0.1 * i) for i in range(1, 11)]

    assert good("ttft p50 <= 500ms", of=records) == good("ttft p99 <= 500ms", of=records) == 5
    assert good("ttft mean <= 500ms", of=records) == good("ttft max <= 500ms", of=records) == 5


def test_a_good_request_keeps_every_slo() -> None:
    records = [record(0), record(1, ttft=0.9), record(2, gaps=(0.2, 0.2)), record(3, ttft=0.9, gaps=(0.2, 0.2))]

    assert good("ttft p95 <= 500ms", "tpot p95 <= 100ms", "e2e p95 <= 10s", "error rate <= 1%", of=records) == 1


@pytest.mark.parametrize(
    ("slo", "count"),
    [("itl p90 <= 50ms", 2), ("itl p95 <= 50ms", 1), ("itl max <= 50ms", 1), ("itl mean <= 50ms", 1)],
)
def test_of_its_own_gaps_a_request_may_exceed_as_large_a_share_as_the_slo_allows(slo: str, count: int) -> None:
    records = [record(0, gaps=(0.02,) * 10), record(1, gaps=(0.02,) * 9 + (0.9,)), record(2, gaps=(0.9,) * 10)]

    assert good(slo, of=records) == count


def test_a_single_token_has_no_pace_to_miss() -> None:
    assert good("itl p95 <= 1ms", "tpot p95 <= 1ms", of=[record(gaps=())]) == 1


def test_goodput_is_per_second_of_the_window_of_the_rates() -> None:
    records = (record(0), record(1), record(2, ttft=0.9))

    found = goodput_of([parse_slo("ttft p95 <= 500ms")], Rates(0.3, 0.9, 3.9, 10.0, records))

    assert found == Goodput(2, pytest.approx(0.2), pytest.approx(0.6))


def test_without_slos_there_is_no_goodput_and_where_none_is_good_it_is_zero() -> None:
    slo = parse_slo("ttft p95 <= 500ms")

    assert goodput_of([], Rates(0.1, 0.3, 1.3, 10.0, (record(),))) is None
    assert goodput_of([slo], Rates(0.1, 0.3, 1.3, 10.0, (record(ttft=2.0),))) == Goodput(0, 0.0, 0.0)
    assert goodput_of([slo], Rates(0.0, 0.0, 0.0, 0.0)) == Goodput(0, 0.0, 0.0)
