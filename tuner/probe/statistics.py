"""What the records of a level add up to.

Definitions (those of `vllm bench serve` where names are equal):

* TTFT: from the scheduled time (open loop) or the send (closed loop) to the first event that carried a token.
* ITL: gaps between successive events of a request that carried tokens; all requests pooled.
* TPOT: (last token - first token) / (output tokens - 1), one value a request.
* e2e: from the scheduled time (or the send) to the last token, one value a request.

Latency statistics describe requests that did all their work; those that did not are counted by kind of error, and count
against SLOs (see `answers`). Percentiles interpolate linearly.

Warm-up: the first `warmup` requests of a level fill the engine (by plan; in an open loop all that were due before it
was full, see `steadiness`) and are left out of statistics and SLO tests. Rates count the requests that ended after as
many requests as the warm-up has had ended, and until the last request was sent: before, the engine is filling; after,
it is emptying.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.core.measurement import Statistic
from tuner.core.request import RequestRecord
from tuner.core.slo import Metric
from tuner.probe.stream import kind_of

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Requests, output tokens and prompt + output tokens per second over a window of `window_s` seconds."""

    requests: float
    output_tokens: float
    total_tokens: float
    window_s: float
    completions: tuple[RequestRecord, ...] = ()


def measured(records: Sequence[RequestRecord], warmup: int) -> tuple[RequestRecord, ...]:
    """The records without the level's warm-up."""
    return tuple(record for record in records if record.planned.index >= warmup)


def latencies(metric: Metric, records: Sequence[RequestRecord]) -> Values:
    """Observations of one latency metric over the requests that did all their work, in seconds."""
    ok = [record for record in records if record.ok]
    match metric:
        case Metric.TTFT:
            found: list[float | None] = [record.ttft_s for record in ok]
        case Metric.TPOT:
            found = [record.tpot_s for record in ok]
        case Metric.E2E:
            found = [record.e2e_s for record in ok]
        case Metric.ITL:
            found = [gap for record in ok for gap in record.itl_s]
        case Metric.ERROR_RATE:
            raise ValueError("the error rate is no latency")
    return np.array([value for value in found if value is not None], dtype=float)


def statistic(values: Values) -> Statistic:
    """Mean and percentiles of at least one observation."""
    p50, p90, p95, p99 = np.percentile(values, (50, 90, 95, 99)).tolist()
    return Statistic(len(values), float(values.mean()), p50, p90, p95, p99, float(values.max()))


def statistics_of(records: Sequence[RequestRecord]) -> Mapping[str, Statistic]:
    """Statistics by metric; a metric without observations is left out."""
    found = {}
    for metric in (Metric.TTFT, Metric.ITL, Metric.TPOT, Metric.E2E):
        values = latencies(metric, records)
        if len(values):
            found[metric.value] = statistic(values)
    return found


def errors_of(records: Sequence[RequestRecord]) -> Mapping[str, int]:
    """How many requests failed, by kind."""
    return dict(Counter(kind_of(record.error) for record in records if record.error is not None))


def rates_of(records: Sequence[RequestRecord], warmup: int) -> Rates:
    """Rates over the window in which the engine was neither filling nor emptying.

    Only completions count, never tokens of requests still running: those that a stop cancels leave no record. Where no
    such window exists (everything was sent at once), the window is all from the first send to the last end.
    """
    ended = sorted((record for record in records if record.ok), key=lambda record: record.end_s)
    if not ended:
        return Rates(0.0, 0.0, 0.0, 0.0)
    last_sent = max(record.sent_s for record in records)
    begin = ended[warmup - 1].end_s if 0 < warmup <= len(ended) else min(record.sent_s for record in records)
    inside = [record for record in ended if begin < record.end_s <= last_sent]
    if len(inside) < 2:
        begin, inside = min(record.sent_s for record in records), ended
    window = inside[-1].end_s - begin
    if window <= 0:
        return Rates(0.0, 0.0, 0.0, 0.0)
    output = sum(record.output_tokens for record in inside)
    total = output + sum(record.prompt_tokens for record in inside)
    return Rates(len(inside) / window, output / window, total / window, window, tuple(inside))
