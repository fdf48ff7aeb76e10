"""Goodput: the requests that kept every SLO, each taken as a bound on the request itself.

An SLO on the requests' p95 says that 5 % of them may exceed its bound; a single request keeps it or does not. So a
request is good when it did all its work and, of its own observations, no larger share exceeds the bound than the SLO
allows (their mean, where it bounds a mean). TTFT, TPOT and e2e are one observation a request, so for them that is
simply the bound, as for `vllm bench serve --goodput ttft:500`; of ITL a request has one for each gap. A request with a
single token has no TPOT and no ITL, and keeps their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.core.measurement import Goodput
from tuner.core.request import RequestRecord
from tuner.core.slo import Metric, Slo
from tuner.probe.verdict.statistics import Rates, gaps_of

_ROUNDING = 1e-9  # 29 of 100 gaps are not more than 29 %


def goodput_of(slos: Sequence[Slo], rates: Rates) -> Goodput | None:
    """Good requests and their output tokens per second of the window that the rates are of; None without an SLO."""
    if not slos:
        return None
    good = np.ones(len(rates.completions), dtype=bool)
    for slo in slos:
        good &= _keep(slo, rates.completions)
    if not good.any():
        return Goodput(0, 0.0, 0.0)
    tokens = sum(record.output_tokens for record, kept in zip(rates.completions, good, strict=True) if kept)
    count = int(good.sum())
    return Goodput(count, count / rates.window_s, tokens / rates.window_s)


def _keep(slo: Slo, records: Sequence[RequestRecord]) -> NDArray[np.bool_]:
    """Which of these requests, all of which did all their work, keep `slo`."""
    match slo.metric:
        case Metric.TTFT:
            return _within(slo, [record.ttft_s for record in records])
        case Metric.TPOT:
            return _within(slo, [record.tpot_s for record in records])
        case Metric.E2E:
            return _within(slo, [record.e2e_s for record in records])
        case Metric.ITL:
            return _gaps_within(slo, records)
        case Metric.ERROR_RATE:
            return np.ones(len(records), dtype=bool)


def _within(slo: Slo, values: Sequence[float | None]) -> NDArray[np.bool_]:
    return np.array([value is None or value <= slo.bound for value in values], dtype=bool)


def _gaps_within(slo: Slo, records: Sequence[RequestRecord]) -> NDArray[np.bool_]:
    gaps = gaps_of(records)
    counts = np.bincount(gaps.owner, minlength=len(records))
    if slo.allowed_share is None:
        return np.bincount(gaps.owner, gaps.seconds, len(records)) <= slo.bound * counts
    exceeding = np.bincount(gaps.owner, gaps.seconds > slo.bound, len(records))
    return exceeding <= slo.allowed_share * counts + _ROUNDING
