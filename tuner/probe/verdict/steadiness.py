"""When an open loop says what would last: once the engine has filled, and serves what it is offered.

An engine that fills holds nearly every promise: it answers at once and finishes little. So a level is *steady* only
where, E being the e2e latency seen in that very level (its 90th percentile),

* the requests due in its first E seconds are left out, and those that count were due over at least 2 E more;
* and of the requests due since E all but 1.64 * sqrt(D * sent) have been made up for by some that ended: what is in the
  engine does not grow beyond the noise of arrivals of dispersion D (1: Poisson).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.core.request import UNFINISHED, PlannedRequest, RequestRecord

_E2E_PERCENTILE = 90
#: E2e latencies that a level takes to be steady: to fill, to be measured, and until the last of these have ended.
LATENCIES = 4
_MEASURED = 2
_GROWTH = 1.64  # standard deviations: 5 %, one-sided


@dataclass(frozen=True)
class Steadiness:
    """How steady a level is so far: its first `warmup` requests fill the engine, and `least` more must be measured.

    Since it is full, `sent` requests were due and `ended` have ended. `dispersion` is the variance of how many arrive
    in a time, relative to its mean.
    """

    warmup: int = 0
    least: int = 0
    sent: int = 0
    ended: int = 0
    dispersion: float = 1.0

    @property
    def overload(self) -> float:
        """Offered / served - 1, at least; 0 where what is in the engine does not grow for certain."""
        least = self.sent - _GROWTH * math.sqrt(self.dispersion * self.sent)
        return max(0.0, least / max(1, self.ended) - 1)


def steadiness_of(
    planned: Sequence[PlannedRequest], records: Sequence[RequestRecord], dispersion: float = 1.0
) -> Steadiness:
    """How steady an open loop is, by the records of what has ended so far (or was cut off at its end)."""
    if not records:
        return Steadiness(warmup=len(planned))
    due = [request.arrival_s or 0.0 for request in planned]
    full_s = float(np.percentile([record.e2e_s for record in records], _E2E_PERCENTILE))
    now = min(max(record.end_s for record in records), due[-1])
    warmup = bisect_right(due, full_s)
    ended = sum(full_s < record.end_s <= now for record in records if record.error != UNFINISHED)
    return Steadiness(
        warmup,
        # An engine that needs more than all that is planned has not shown anything.
        bisect_right(due, (1 + _MEASURED) * full_s) - warmup if (1 + _MEASURED) * full_s <= due[-1] else len(planned),
        max(0, bisect_right(due, now) - warmup),
        ended,
        dispersion,
    )
