"""Requests of others, told from the engine's own count of those that it served to their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tuner.core.request import UNFINISHED, RequestRecord
from tuner.probe.client.stream import kind_of
from tuner.probe.client.wire import CANCELLED

# An engine does not count these, unless they ended in the very moment in which we gave them up.
_GIVEN_UP = (CANCELLED, "timeout", UNFINISHED)
_NEVER_SERVED = ("http 4", "http 503", "connection refused")
_MOMENT_S = 0.5


def foreign_requests(
    before: Mapping[str, float], after: Mapping[str, float], ours: Sequence[RequestRecord]
) -> int | None:
    """How many requests the engine served beside `ours` between two looks at its counters; None where it shows none.

    What still runs or waits at the second look, when all of ours have ended, counts too. `ours` are all that were sent,
    with those that were cancelled.
    """
    if "requests" not in before or "requests" not in after:
        return None
    served = after["requests"] - before["requests"] + after.get("running", 0) + after.get("waiting", 0)
    return max(0, round(served) - _counted(ours))


def _counted(ours: Sequence[RequestRecord]) -> int:
    """How many of ours the engine may have counted."""
    paces = [record.tpot_s for record in ours if record.tpot_s is not None]
    pace_s = median(paces) if paces else 0.0
    return sum(_may_have_ended(record, pace_s) for record in ours)


def _may_have_ended(record: RequestRecord, pace_s: float) -> bool:
    if record.error is None:
        return True
    if record.error.startswith(_GIVEN_UP):
        return (record.planned.output_tokens - record.output_tokens) * pace_s <= _MOMENT_S
    return not kind_of(record.error).startswith(_NEVER_SERVED)
