from __future__ import annotations

from dataclasses import replace

from tests.unit.probe.records import record
from tuner.core.request import RequestRecord
from tuner.probe.client.foreign import foreign_requests

IDLE = {"requests": 100.0, "running": 0.0, "waiting": 0.0}
OK = [record(i, gaps=(0.05,) * 40) for i in range(20)]


def served(count: int, **gauges: float) -> dict[str, float]:
    return {**IDLE, "requests": 100.0 + count, **gauges}


def cut(tokens: int, error: str) -> RequestRecord:
    """One of 41 tokens at 50 ms each, given up after so many."""
    return replace(OK[0], output_tokens=tokens, error=error)


def test_only_what_ended_of_ours_may_be_in_the_engines_count() -> None:
    lost = [cut(10, "cancelled"), cut(10, "timeout"), cut(0, "unfinished"), cut(0, "http 503: busy")]
    lost += [cut(0, "http 400: too long"), cut(0, "connection refused: no")]

    assert foreign_requests(IDLE, served(20), [*OK, *lost]) == 0
    assert foreign_requests(IDLE, served(23), [*OK, *lost]) == 3


def test_what_failed_after_its_work_or_was_cancelled_at_its_very_end_may_be_counted() -> None:
    doubtful = [cut(41, "in-band error: x"), cut(40, "missing tokens: 40"), cut(38, "cancelled"), cut(5, "http 500: x")]

    assert foreign_requests(IDLE, served(24), [*OK, *doubtful]) == 0
    assert foreign_requests(IDLE, served(25), [*OK, *doubtful]) == 1


def test_others_that_still_run_are_foreign_too() -> None:
    assert foreign_requests(served(0, running=2), served(20, running=2, waiting=1), OK) == 3


def test_without_a_count_nothing_is_known() -> None:
    assert foreign_requests({}, served(20), OK) is None
    assert foreign_requests(IDLE, {"running": 1.0}, OK) is None
