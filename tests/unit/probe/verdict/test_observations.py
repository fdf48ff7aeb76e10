from __future__ import annotations

import pytest

from tests.unit.probe.records import record
from tuner.core.request import UNFINISHED, PlannedRequest
from tuner.core.slo import parse_slo
from tuner.probe.verdict.observations import cohort, observe


def test_a_running_request_exceeds_a_bound_once_it_is_older() -> None:
    running = record(0, ttft=3.0, gaps=(), error="unfinished")  # its age is 3 s

    assert observe(parse_slo("e2e p95 <= 2s"), [running], 30).exceeding.tolist() == [1]
    assert observe(parse_slo("e2e p95 <= 4s"), [running], 30).undecided == 1
    assert observe(parse_slo("error rate <= 1%"), [running], 30).undecided == 1


def test_observations_are_in_the_order_of_the_schedule() -> None:
    records = [record(1, sent=2.0, ttft=0.9), record(0, sent=1.0, ttft=0.1)]

    assert observe(parse_slo("ttft p95 <= 500ms"), records, 30).exceeding.tolist() == [0, 1]


def test_gaps_stay_with_their_request() -> None:
    seen = observe(parse_slo("itl p99 <= 50ms"), [record(gaps=(0.01, 0.1, 0.2)), record(1, sent=1, gaps=(0.01,))], 30)

    assert seen.counts.tolist() == [3, 1]
    assert seen.exceeding.tolist() == [2, 0]


def test_all_records_are_taken_once_everything_has_ended() -> None:
    records = [record(i, sent=i) for i in range(5)]

    assert cohort([r.planned for r in records], records) == tuple(records)


def test_a_look_does_not_favour_the_quick() -> None:
    # Every other request is slow and still runs: the ended ones alone would look fine.
    planned = [PlannedRequest(i, 10, 3, i * 1.0) for i in range(10)]
    ended = [record(i, sent=i) for i in range(0, 10, 2)]

    seen = cohort(planned, ended)

    assert [r.planned.index for r in seen] == list(range(8))
    assert [r.error for r in seen] == [None, "unfinished"] * 4
    assert seen[1].end_s == ended[-1].end_s


def test_a_look_leaves_out_what_may_still_be_too_young() -> None:
    planned = [PlannedRequest(i, 10, 3, i * 1.0) for i in range(10)]
    ended = [record(0, sent=0, ttft=4.0), *(record(i, sent=i) for i in (1, 2, 3, 4, 5))]

    assert [r.planned.index for r in cohort(planned, ended)] == [0, 1]


def test_a_turn_that_waits_for_its_conversation_is_not_held_against_the_engine() -> None:
    # Requests 2 and 3 were due at 2 and 3 s, but their former turns end late, and 5 s of thinking come after those.
    planned = [
        *(PlannedRequest(i, 10, 3, i * 1.0) for i in range(2)),
        *(PlannedRequest(i, 10, 3, i * 1.0, after=i - 2, think_s=5.0) for i in range(2, 4)),
        PlannedRequest(4, 10, 3, 4.0),
        PlannedRequest(5, 10, 3, 30.0),
    ]
    done = [record(0, sent=0.0, ttft=9.0), record(4, sent=4.0), record(5, sent=30.0)]

    seen = {one.planned.index: one for one in cohort(planned, done)}

    # 1 runs since 1 s, 2 since the end of 0 and 5 s more; 3 was not sent, because 1 has not ended.
    assert seen[1].scheduled_s == 1.0
    assert seen[2].scheduled_s == done[0].end_s + 5.0
    assert 3 not in seen


def test_one_slow_answer_hides_few_requests_where_it_is_told_how_far_all_have_come() -> None:
    records = [record(i, sent=0.1 * i, ttft=29.0 if i == 5 else 0.5) for i in range(290)]
    running = record(290, sent=29.0, error=UNFINISHED)
    planned = [one.planned for one in (*records, running)]

    assert len(cohort(planned, [*records, running])) == 6
    assert len(cohort(planned, [*records, running], told=True)) == pytest.approx(290, abs=10)


def test_what_timed_out_is_no_measure_of_how_long_answers_take() -> None:
    records = [record(i, sent=0.1 * i, ttft=0.5) for i in range(290)]
    records[5] = record(5, sent=0.5, ttft=29.0, error="timeout")
    planned = [*(one.planned for one in records), PlannedRequest(290, 10, 3, 29.0)]

    assert len(cohort(planned, records)) == pytest.approx(290, abs=10)
