from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tuner.dashboard.views.phases import worked
from tuner.store import Phase, PhaseRecord


def _phases(*found: tuple[Phase, float]) -> list[PhaseRecord]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [PhaseRecord(phase, begin + timedelta(seconds=at)) for phase, at in found]


def test_a_phase_lasts_until_the_next() -> None:
    phases = _phases(
        (Phase.SUGGESTED, 0), (Phase.SCREENING, 1), (Phase.STARTING, 2), (Phase.PROBING, 42), (Phase.RECORDED, 50)
    )
    assert worked(phases) == [(Phase.SCREENING, 1), (Phase.STARTING, 40), (Phase.PROBING, 8)]
    assert worked(phases[:4])[-1] == (Phase.STARTING, 40)  # nobody knows yet how long the last takes
    assert worked([]) == []


def test_the_time_until_a_start_after_a_kill_is_none_of_it() -> None:
    phases = _phases(
        (Phase.SCREENING, 0),
        (Phase.STARTING, 1),
        (Phase.PROBING, 41),
        (Phase.STARTING, 90_000),
        (Phase.STARTING, 95_000),  # killed again, in its start
        (Phase.PROBING, 95_040),
        (Phase.RECORDED, 95_050),
    )
    assert worked(phases) == [
        (Phase.SCREENING, 1),
        (Phase.STARTING, 40),
        (Phase.STARTING, 40),
        (Phase.PROBING, 10),
    ]
