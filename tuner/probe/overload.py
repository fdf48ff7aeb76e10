"""Whether an engine falls behind an open loop: it is offered more than it serves, whatever its SLOs say so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tuner.core.request import RequestRecord
from tuner.probe.confidence import t_quantile

_BATCHES = 10
_LEAST_REQUESTS = 40
_ALPHA = 0.01
# An excursion of a queue that is stable but busy climbs too; what doubles and climbs this fast is not one.
_CLIMB = 0.05
_GROWTH = 2.0


def overload_of(records: Sequence[RequestRecord]) -> float:
    """By how much more than it serves an engine is offered in an open loop (warm-up excluded); 0 where it keeps up.

    At an offered load of rho > 1 the wait of a request that is due at t is (rho - 1) * t: the e2e latency climbs by
    rho - 1 seconds a second. Told is the lower bound of the slope over ten batch means at a one-sided level of 1 %,
    where it is over 0.05 and the latency has at least doubled over the level. Fewer than 40 requests never tell.
    """
    ended = sorted((record for record in records if record.ok), key=lambda record: record.scheduled_s)
    if len(ended) < _LEAST_REQUESTS:
        return 0.0
    due = _batch_means([record.scheduled_s for record in ended])
    e2e = _batch_means([record.e2e_s for record in ended])
    if e2e[-2:].mean() < _GROWTH * e2e[:2].mean():
        return 0.0
    spread = due - due.mean()
    square = float((spread**2).sum())
    slope = float((spread * e2e).sum()) / square
    residuals = e2e - e2e.mean() - slope * spread
    error = math.sqrt(float((residuals**2).sum()) / (_BATCHES - 2) / square)
    least = slope - t_quantile(1 - _ALPHA, _BATCHES - 2) * error
    return least if least > _CLIMB else 0.0


def _batch_means(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([part.mean() for part in np.array_split(np.array(values, dtype=float), _BATCHES)])
