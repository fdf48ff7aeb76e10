"""Whether an engine falls behind an open loop: it is offered more than it serves, whatever its SLOs say so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tuner.core.request import RequestRecord
from tuner.probe.verdict.confidence import t_quantile

_BATCHES = 10
_LEAST_REQUESTS = 40
_ALPHA = 0.02
# An excursion of a queue that is stable but busy climbs too; what climbs this far and this fast is not one.
_CLIMB = 0.05


def overload_of(records: Sequence[RequestRecord]) -> float:
    """By how much more than it serves an engine is offered in an open loop (warm-up excluded); 0 where it keeps up.

    At an offered load of rho > 1 the wait of a request that is due at t is (rho - 1) * t: the time to first token
    climbs by rho - 1 seconds a second (the e2e latency climbs while an engine fills, too). Told is the lower bound of
    that climb, by the steps between ten batch means, at a one-sided level of 2 %, where it is over 0.05 and the wait
    has grown by at least the e2e latency of the first requests. Steps, because a queue that keeps up wanders as a sum
    of them: a line through the waits themselves is too sure of itself. Fewer than 40 requests never tell.
    """
    ended = sorted((record for record in records if record.ok), key=lambda record: record.scheduled_s)
    if len(ended) < _LEAST_REQUESTS:
        return 0.0
    due = _batch_means([record.scheduled_s for record in ended])
    wait = _batch_means([record.ttft_s or 0.0 for record in ended])
    if wait[-2:].mean() - wait[:2].mean() < _batch_means([record.e2e_s for record in ended])[:2].mean():
        return 0.0
    steps = np.diff(wait) / np.diff(due).mean()
    error = float(steps.std(ddof=1)) / math.sqrt(len(steps))
    least = float(steps.mean()) - t_quantile(1 - _ALPHA, len(steps) - 1) * error
    return least if least > _CLIMB else 0.0


def _batch_means(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([part.mean() for part in np.array_split(np.array(values, dtype=float), _BATCHES)])
