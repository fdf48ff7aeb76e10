"""A level over time: what was sent, what ended and what came back, in equal bins."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tuner.core.measurement import Timeline
from tuner.core.request import UNFINISHED, LevelRecords, RequestRecord
from tuner.core.serverside import ServerSamples
from tuner.probe.client.wire import CANCELLED

_MOST_BINS = 100
_STEPS = (1, 2, 5, 10)
_CUT_OFF = (UNFINISHED, CANCELLED)  # by us: neither ended nor failed

Values = NDArray[np.float64]


def timeline_of(found: LevelRecords) -> Timeline | None:
    """The timeline of a level, with the requests that ran when it was stopped; None for a level without any."""
    records = (*found.records, *found.cancelled)
    if not records or found.duration_s <= 0:
        return None
    bin_s = _bin_s(found.duration_s)
    bins = math.ceil(found.duration_s / bin_s)

    def count(times: Sequence[float] | Values, weights: NDArray[np.intp] | None = None) -> tuple[int, ...]:
        places = np.clip((np.asarray(times, dtype=float) / bin_s).astype(np.intp), 0, bins - 1)
        return tuple(np.bincount(places, weights, bins).astype(int).tolist())

    tokens_s, tokens = _tokens(records)
    return Timeline(
        bin_s=bin_s,
        sent=count([record.sent_s for record in records]),
        ended=count([record.end_s for record in records if record.ok]),
        failed=count([record.end_s for record in records if record.error and not record.error.startswith(_CUT_OFF)]),
        output_tokens=count(tokens_s, tokens),
        in_flight=_in_flight(records, bin_s, found.duration_s),
        server_running=_shown(found.server, "running", bin_s, bins),
        server_waiting=_shown(found.server, "waiting", bin_s, bins),
        kv_usage=_shown(found.server, "kv_usage", bin_s, bins),
        ttft_s=_ttft(records, bin_s, bins),
    )


def _bin_s(duration_s: float) -> float:
    """The least of 1, 2, 5, 10, ... that makes no more bins than there may be."""
    least = duration_s / _MOST_BINS
    decade = 10.0 ** math.floor(math.log10(least))
    return next(step * decade for step in _STEPS if step * decade >= least)


def _tokens(records: Sequence[RequestRecord]) -> tuple[Values, NDArray[np.intp] | None]:
    """When events came, and how many tokens each brought (None: one each)."""
    times = np.fromiter(chain.from_iterable(record.token_s for record in records), float)
    if all(record.output_tokens <= len(record.token_s) for record in records):
        return times, None
    return times, np.fromiter(chain.from_iterable(record.event_tokens for record in records), np.intp)


def _in_flight(records: Sequence[RequestRecord], bin_s: float, duration_s: float) -> tuple[float, ...]:
    """How many requests had been sent and had not ended, averaged over each bin."""
    edges = np.minimum(np.arange(math.ceil(duration_s / bin_s) + 1) * bin_s, duration_s)
    began = _waited([record.sent_s for record in records])
    ended = _waited([record.end_s for record in records])
    spent = np.diff(began(edges) - ended(edges))
    widths = np.maximum(np.diff(edges), 1e-12)
    return tuple(np.round(np.maximum(spent / widths, 0), 2).tolist())


def _waited(moments: Sequence[float]) -> Callable[[Values], Values]:
    """The seconds that passed since each of these moments until a given one, in all."""
    ascending = np.sort(moments)
    total = np.concatenate(([0.0], np.cumsum(ascending)))

    def until(when: Values) -> Values:
        passed = np.searchsorted(ascending, when)
        return passed * when - total[passed]

    return until


def _ttft(records: Sequence[RequestRecord], bin_s: float, bins: int) -> tuple[float | None, ...]:
    """The median TTFT by when requests were due."""
    waits: list[list[float]] = [[] for _ in range(bins)]
    for record in records:
        if record.ttft_s is not None:
            waits[min(int(record.scheduled_s / bin_s), bins - 1)].append(record.ttft_s)
    return tuple(round(statistics.median(bin_waits), 6) if bin_waits else None for bin_waits in waits)


def _shown(seen: ServerSamples | None, name: str, bin_s: float, bins: int) -> tuple[float | None, ...]:
    """What the server showed of itself, by bin."""
    values = [(sample.at_s, sample.values[name]) for sample in seen.during if name in sample.values] if seen else []
    if not values:
        return ()
    at_s, shown = np.array(values).T
    places = np.clip((at_s / bin_s).astype(np.intp), 0, bins - 1)
    counts, sums = np.bincount(places, minlength=bins), np.bincount(places, shown, bins)
    return tuple(round(float(total / count), 4) if count else None for total, count in zip(sums, counts, strict=True))
