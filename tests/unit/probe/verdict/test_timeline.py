from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.probe.records import record
from tuner.core.measurement import Timeline
from tuner.core.request import UNFINISHED, LevelRecords, RequestRecord
from tuner.core.serverside import ServerSample, ServerSamples
from tuner.probe.client.wire import CANCELLED
from tuner.probe.verdict.timeline import timeline_of


def timeline(*records: RequestRecord, duration_s: float = 10.0, **more: object) -> Timeline:
    found = timeline_of(LevelRecords(records, duration_s, len(records), **more))  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("duration_s", "bin_s", "bins"), [(10.0, 0.1, 100), (10.1, 0.2, 51), (120.0, 2.0, 60), (0.004, 0.00005, 80)]
)
def test_bins_are_round_and_few(duration_s: float, bin_s: float, bins: int) -> None:
    found = timeline(record(), duration_s=duration_s)

    assert found.bin_s == pytest.approx(bin_s)
    assert {len(series) for series in (found.sent, found.ended, found.output_tokens, found.in_flight)} == {bins}


def test_what_is_sent_ends_or_fails_is_counted_where_it_happens() -> None:
    found = timeline(
        record(0, sent=1.0, ttft=2.0, gaps=(1.0, 1.0)),
        record(1, sent=1.05, ttft=1.0, gaps=(), error="timeout"),
        duration_s=10.0,
    )

    assert found.sent[10] == 2
    assert (found.ended[50], found.failed[20]) == (1, 1)
    assert [found.output_tokens[i] for i in (30, 40, 50)] == [1, 1, 1]
    assert (sum(found.sent), sum(found.ended), sum(found.failed), sum(found.output_tokens)) == (2, 1, 1, 4)


def test_requests_in_flight_are_an_average_over_the_bin() -> None:
    found = timeline(record(0, sent=0.0, ttft=10.0, gaps=()), record(1, sent=1.05, ttft=1.0, gaps=()), duration_s=10.0)

    assert found.in_flight[:10] == (1.0,) * 10
    assert (found.in_flight[10], found.in_flight[11], found.in_flight[20], found.in_flight[21]) == (1.5, 2.0, 1.5, 1.0)


def test_ttft_is_shown_where_the_request_was_due() -> None:
    found = timeline(
        *(record(i, sent=1.0, ttft=ttft, gaps=()) for i, ttft in enumerate((1.0, 2.0, 6.0))),
        replace(record(3, sent=5.0, error="timeout"), token_s=(), event_tokens=()),
    )

    assert found.ttft_s[10] == 2.0
    assert set(found.ttft_s) == {2.0, None}


def test_what_we_cut_off_ran_until_then_and_neither_ended_nor_failed() -> None:
    cut = record(0, sent=1.0, ttft=8.0, gaps=(1.0,), error=UNFINISHED)
    cancelled = record(1, sent=2.0, ttft=7.0, gaps=(1.0,), error=CANCELLED)

    found = timeline(cut, cancelled=(cancelled,))

    assert (sum(found.sent), sum(found.ended), sum(found.failed), sum(found.output_tokens)) == (2, 0, 0, 4)
    assert found.in_flight[-1] == 2.0


def test_all_tokens_of_an_event_count() -> None:
    several = replace(record(), event_tokens=(1, 4, 3), output_tokens=8)

    assert sum(timeline(several).output_tokens) == 8


def test_the_servers_view_has_no_value_where_nobody_looked() -> None:
    during = tuple(ServerSample(at, {"running": at}) for at in (1.0, 1.05, 3.0))

    found = timeline(record(), server=ServerSamples({}, during, {}))

    assert (found.server_running[10], found.server_running[11], found.server_running[30]) == (1.025, None, 3.0)
    assert (found.server_waiting, found.kv_usage) == ((), ())


def test_a_level_in_which_nothing_was_sent_has_no_timeline() -> None:
    assert timeline_of(LevelRecords((), 10.0, 0)) is None
