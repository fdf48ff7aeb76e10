"""Quantities as people write them: durations, shares and moments."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_ORDER = ("d", "h", "min", "s", "ms")
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(d|h|min|ms|m|s)\s*", re.ASCII)
MOMENT = "a time (2026-08-01T18:00, with +02:00 or Z where it is not local) or a duration from now (2h30m)"


def parse_duration(text: Any) -> float:
    """Seconds in `text`: numbers with units d, h, min (or m), s, ms, the largest unit first.

    Raises ValueError with what is wrong.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f"has no unit; did you mean {text:g}s or {text:g}min?")
    if not isinstance(text, str):
        raise ValueError("is not a duration")
    rest, total, units = text.strip().lower(), 0.0, []
    while match := _PART.match(rest):
        units.append("min" if match[2] == "m" else match[2])
        total += float(match[1]) * _SECONDS[match[2]]
        rest = rest[match.end() :]
    if rest or not units:
        raise ValueError(_clock_hint(text) or "is not a duration")
    if units != sorted(set(units), key=_ORDER.index):
        raise ValueError("has its units twice or out of order")
    return total


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, to the millisecond."""
    left, parts = round(seconds * 1000), []
    for unit in _ORDER:
        size = round(_SECONDS[unit] * 1000)
        if count := left // size:
            parts.append(f"{count}{unit}")
        left %= size
    return "".join(parts) or "0s"


def parse_share(value: Any) -> Any:
    """A fraction from `5%` or 0.05; what is neither text nor a number is left as it is.

    Raises ValueError for text that is no percentage, and for a number that must have been meant as one.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 < value <= 100:
        raise ValueError(f"is over 100 %; did you mean {value:g}%?")
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*%\s*", value, re.ASCII)
    if match is None:
        raise ValueError("is not a share")
    return float(match[1]) / 100


def parse_moment(text: Any, now: datetime | None) -> datetime:
    """An aware time from an ISO time or a duration after `now`; a time without a zone is in `now`'s.

    Raises ValueError with what is wrong, also for a time that is not after `now`. Without `now` (a stored study is
    read again) any time with a zone is taken.
    """
    if isinstance(text, datetime):
        moment = text
    elif not isinstance(text, str):
        raise ValueError("is neither a time nor a duration")
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return _after(text, now)
        if len(text.strip()) <= 10:
            raise ValueError("is a date without a time of day")
    if moment.tzinfo is None:
        if now is None:
            raise ValueError("has no time zone")
        moment = moment.replace(tzinfo=now.tzinfo)
    if now is not None and moment <= now:
        raise ValueError(f"is over already (now is {now:%Y-%m-%dT%H:%M%z})")
    return moment


def _after(text: str, now: datetime | None) -> datetime:
    if now is None:
        raise ValueError("is neither a time nor a duration")
    try:
        moment = now + timedelta(seconds=parse_duration(text))
    except OverflowError:
        raise ValueError("is too far away") from None
    if moment <= now:
        raise ValueError("is no time at all")
    return moment


def _clock_hint(text: str) -> str | None:
    match = re.fullmatch(r"\s*(\d{1,2}):(\d{2})(?::(\d{2}))?\s*", text, re.ASCII)
    if match is None:
        return None
    a, b, c = match.groups()
    forms = f"{a}h{b}m{c}s" if c else f"{a}h{b}m or {a}m{b}s"
    return f"could be a time of day or a duration; did you mean {forms}?"
