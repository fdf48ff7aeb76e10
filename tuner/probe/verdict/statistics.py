"""What the records of a level add up to.

Definitions (those of `vllm bench serve` where names are equal; docs/measuring.md has the formulas and the differences):

* TTFT: from the scheduled time (open loop) or the send (closed loop) to the first event that carried a token.
* ITL: gaps between successive events of a request that carried tokens; all requests pooled.
* ITL per token: each such gap shared out among the tokens that its second event brought. Only where events bring
  several tokens (speculation, --stream-interval): else it is ITL.
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
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tuner.core.measurement import QUANTILES, Statistic
from tuner.core.request import UNFINISHED, RequestRecord
from tuner.core.slo import Metric
from tuner.probe.client.stream import kind_of

Values = NDArray[np.float64]

#: The metric beside those that an SLO can bound.
ITL_PER_TOKEN = "itl_per_token"
# Fewer ends than that, in a time that begins and ends with one, say little of how many there are in a second.
_LEAST_INSIDE = 10
_DIGITS = 4  # of a quantile that is kept: 0.05 % is finer than a level can tell


@dataclass(frozen=True)
class Rates:
    """Requests, output tokens and prompt + output tokens per second over a window of `window_s` seconds from `begin_s`.

    Of all `completions` that ended, `before` ended before it and `after` after it. `whole`: the level had no time in
    which the engine was neither filling nor emptying, and the window is all of it.
    """

    requests: float
    output_tokens: float
    total_tokens: float
    window_s: float
    completions: tuple[RequestRecord, ...] = ()
    begin_s: float = 0.0
    before: int = 0
    after: int = 0
    whole: bool = False


@dataclass(frozen=True)
class Gaps:
    """All gaps between events of some requests: of request `owner[i]` (its place in the sequence), before `tokens[i]`.

    `tokens` is None where every event carried one.
    """

    seconds: Values
    owner: NDArray[np.intp]
    tokens: NDArray[np.intp] | None

    @property
    def per_token(self) -> Values:
        """Each gap as so many equal ones as tokens came after it."""
        return self.seconds if self.tokens is None else np.repeat(self.seconds / self.tokens, self.tokens)


def measured(records: Sequence[RequestRecord], warmup: int) -> tuple[RequestRecord, ...]:
    """The records without the level's warm-up."""
    return tuple(record for record in records if record.planned.index >= warmup)


def gaps_of(records: Sequence[RequestRecord]) -> Gaps:
    """The gaps between events, whether or not the requests did all their work."""
    sizes = np.array([len(record.token_s) for record in records], dtype=np.intp)
    times = np.fromiter(chain.from_iterable(record.token_s for record in records), float, sizes.sum())
    owner = np.repeat(np.arange(len(records)), sizes)
    follows = owner[1:] == owner[:-1]
    tokens = None
    if any(record.output_tokens > len(record.token_s) for record in records):
        brought = chain.from_iterable(record.event_tokens for record in records)
        tokens = np.fromiter(brought, np.intp, sizes.sum())[1:][follows]
    return Gaps(np.diff(times)[follows], owner[1:][follows], tokens)


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
            return gaps_of(ok).seconds
        case Metric.ERROR_RATE:
            raise ValueError("the error rate is no latency")
    return np.array([value for value in found if value is not None], dtype=float)


def samples_of(records: Sequence[RequestRecord]) -> Mapping[str, Values]:
    """All observations by metric, in ascending order; a metric without any is left out."""
    gaps = gaps_of([record for record in records if record.ok])
    found = {metric.value: latencies(metric, records) for metric in (Metric.TTFT, Metric.TPOT, Metric.E2E)}
    found[Metric.ITL.value] = gaps.seconds
    if gaps.tokens is not None:
        found[ITL_PER_TOKEN] = gaps.per_token
    return {metric: np.sort(values) for metric, values in found.items() if len(values)}


def percentiles(ascending: Values, wanted: Sequence[float]) -> Values:
    """Percentiles of at least one sorted observation, interpolated as numpy does by default."""
    place = np.asarray(wanted) / 100 * (len(ascending) - 1)
    below = place.astype(np.intp)
    low, high = ascending[below], ascending[np.minimum(below + 1, len(ascending) - 1)]
    share = place - below
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))


def statistics_of(samples: Mapping[str, Values]) -> Mapping[str, Statistic]:
    """Mean and percentiles by metric, of ascending observations."""
    return {metric: _statistic(ascending) for metric, ascending in samples.items()}


def _statistic(ascending: Values) -> Statistic:
    p50, p90, p95, p99 = percentiles(ascending, (50, 90, 95, 99)).tolist()
    return Statistic(len(ascending), float(ascending.mean()), p50, p90, p95, p99, float(ascending[-1]))


def quantiles_of(samples: Mapping[str, Values]) -> Mapping[str, tuple[float, ...]]:
    """The distribution by metric, at QUANTILES, with so many digits as are worth keeping."""
    return {metric: _rounded(percentiles(ascending, QUANTILES)) for metric, ascending in samples.items()}


def _rounded(values: Values) -> tuple[float, ...]:
    magnitude = np.floor(np.log10(np.maximum(np.abs(values), 1e-9)))
    scale = 10 ** np.maximum(0, _DIGITS - 1 - magnitude)
    return tuple((np.round(values * scale) / scale).tolist())


def errors_of(records: Sequence[RequestRecord]) -> Mapping[str, int]:
    """How many requests failed, by kind."""
    return dict(Counter(kind_of(record.error) for record in records if record.error is not None))


def work_share(records: Sequence[RequestRecord]) -> float:
    """The share that did all their work, of those whose end was seen."""
    ended = [record for record in records if record.error != UNFINISHED]
    return sum(record.ok for record in ended) / len(ended) if ended else 1.0


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
    whole = len(inside) < _LEAST_INSIDE
    if whole:
        begin, inside = min(record.sent_s for record in records), ended
    window = inside[-1].end_s - begin
    if window <= 0:
        return Rates(0.0, 0.0, 0.0, 0.0)
    output = sum(record.output_tokens for record in inside)
    total = output + sum(record.prompt_tokens for record in inside)
    before = sum(record.end_s <= begin for record in ended)
    after = len(ended) - before - len(inside)
    rates = (len(inside) / window, output / window, total / window)
    return Rates(*rates, window, tuple(inside), begin, before, after, whole)
