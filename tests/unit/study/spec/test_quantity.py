"""Durations, shares and moments as people write them, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.study.spec.quantity import format_duration, parse_duration, parse_moment, parse_share

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15min", 900), ("15m", 900), ("2h30m", 9000), ("1.5h", 5400), ("1d 2h", 93600), ("250ms", 0.25),
     (" 2 h 30 min ", 9000), ("2H30M", 9000), ("0s", 0)],
)  # fmt: skip
def test_durations_add_their_parts(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**11))
def test_a_formatted_duration_is_read_as_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (900, "no unit; did you mean 900s or 900min"), (True, "not a duration"), (None, "not a duration"),
        ("900", "not a duration"), ("", "not a duration"), ("-5min", "not a duration"), ("5 parsecs", "not a duration"),
        ("30m2h", "out of order"), ("1h1h", "twice"), ("1m5min", "twice"), ("1e3s", "not a duration"),
        ("1:30", "did you mean 1h30m or 1m30s"), ("0:01:30", "did you mean 0h01m30s"), ("٣h", "not a duration"),
        ("9" * 5000 + "s", "not a duration"), ("nan s", "not a duration"),
    ],
)  # fmt: skip
def test_other_durations_are_refused(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_duration(text)


def test_shares_are_percentages_or_fractions() -> None:
    assert parse_share("5%") == 0.05
    assert parse_share(" 3.5 % ") == pytest.approx(0.035)
    assert parse_share(0.05) == 0.05
    for wrong, said in (("5", "not a share"), ("five%", "not a share"), ("-5%", "not a share"), (5, "did you mean 5%")):
        with pytest.raises(ValueError, match=said):
            parse_share(wrong)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h30m", NOW + timedelta(hours=2, minutes=30)),
        ("2026-03-01T18:00", NOW.replace(hour=18)),
        ("2026-03-01 18:00", NOW.replace(hour=18)),
        ("2026-03-01T18:00Z", datetime(2026, 3, 1, 18, tzinfo=UTC)),
        ("2026-03-01T18:00-05:00", datetime(2026, 3, 1, 23, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_here_or_a_duration_from_now(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-03-01T11:00", "over already"), ("2026-03-02", "without a time of day"), ("0s", "no time"),
        ("tomorrow", "not a duration"), ("18:00", "did you mean 18h00m"), (90, "neither"), (True, "neither"),
        ("999999999999d", "too far"), ("2026-02-30T10:00", "not a duration"),
    ],
)  # fmt: skip
def test_other_moments_are_refused(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_moment(text, NOW)
