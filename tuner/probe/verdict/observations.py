"""What each request says about one SLO: the bridge from records to the SLO's test.

A request that failed exceeds every bound. A request that was still running when the data was taken exceeds a bound as
soon as it is older than the bound; before, it is *undecided*: leaving it out would hide just the slow ones, so it
speaks against PASS, and it does not speak for FAIL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.core.request import UNFINISHED, PlannedRequest, RequestRecord
from tuner.core.slo import Metric, Slo

_TOLD_PERCENTILE = 95


@dataclass(frozen=True)
class Observations:
    """One SLO's evidence, by request in the order of their schedule.

    Of request i there are `counts[i]` observations (1, or for ITL one per gap), `exceeding[i]` of them over the bound,
    with the sum `sums[i]`; a failed one counts with the timeout in the sum. `values` are all single observations: in
    seconds, for the error rate 1 (failed) or 0. `undecided` requests are not among them. `waits[i]` is how long the
    request waited for its first token, or for its end without one: what it has in common with those beside it.
    """

    exceeding: NDArray[np.float64]
    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    values: NDArray[np.float64]
    waits: NDArray[np.float64]
    undecided: int = 0

    @property
    def count(self) -> int:
        """Observations in all."""
        return int(self.counts.sum())

    @property
    def requests(self) -> int:
        """Requests with at least one observation."""
        return len(self.counts)

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean of each request's observations: its latency, where it has one."""
        return self.sums / self.counts


def observe(slo: Slo, records: Sequence[RequestRecord], timeout_s: float) -> Observations:
    """The evidence on `slo` in these records; a failed request counts as `timeout_s` long."""
    by_schedule = sorted(records, key=lambda record: (record.scheduled_s, record.planned.index))
    both = [(_row(slo, record, timeout_s), record) for record in by_schedule]
    rows = [row for row, _ in both if row]
    undecided = sum(not row and record.error == UNFINISHED for row, record in both)
    return Observations(
        np.array([sum(value > slo.bound for value in row) for row in rows], dtype=float),
        np.array([len(row) for row in rows], dtype=float),
        np.array([sum(row) for row in rows], dtype=float),
        np.array([value for row in rows for value in row], dtype=float),
        np.array([_wait(record) for row, record in both if row], dtype=float),
        undecided,
    )


def _row(slo: Slo, record: RequestRecord, timeout_s: float) -> Sequence[float]:
    """One request's observations; none where it says nothing (yet)."""
    if record.error == UNFINISHED:
        return _of_running(slo, record)
    if slo.metric is Metric.ERROR_RATE:
        return (0.0 if record.ok else 1.0,)
    if record.error is not None:
        gaps = max(1, record.planned.output_tokens - 1) if slo.metric is Metric.ITL else 1
        return (max(timeout_s, 2 * slo.bound),) * gaps
    if slo.metric is Metric.ITL:
        return record.itl_s
    return _known({Metric.TTFT: record.ttft_s, Metric.TPOT: record.tpot_s, Metric.E2E: record.e2e_s}[slo.metric])


def _of_running(slo: Slo, record: RequestRecord) -> Sequence[float]:
    age = record.end_s - record.scheduled_s
    match slo.metric:
        case Metric.TTFT:
            return _known(record.ttft_s) or _over(age, slo.bound)
        case Metric.ITL:
            open_gap = _over(record.end_s - record.token_s[-1], slo.bound) if record.token_s else ()
            return (*record.itl_s, *open_gap)
        case Metric.TPOT:
            gaps = record.planned.output_tokens - 1
            return _over((record.end_s - record.token_s[0]) / gaps, slo.bound) if record.token_s and gaps else ()
        case Metric.E2E:
            return _over(age, slo.bound)
        case _:
            return ()


def _wait(record: RequestRecord) -> float:
    return record.end_s - record.scheduled_s if record.ttft_s is None else record.ttft_s


def _known(value: float | None) -> Sequence[float]:
    return () if value is None else (value,)


def _over(least: float, bound: float) -> Sequence[float]:
    return (least,) if least > bound else ()


def cohort(
    planned: Sequence[PlannedRequest], records: Sequence[RequestRecord], *, told: bool = False
) -> tuple[RequestRecord, ...]:
    """The records that may be looked at while requests still run, without favouring the quick ones.

    Of all requests that were due longer ago than the slowest one took that did its work: those that ended, and those
    that did not (as unfinished ones, of their age). Later requests are left out whether or not they have ended. Where
    every planned request has ended, all of them are returned. `planned[i].index` is i.

    `told`: the records also hold what still runs, as far as it has come. Then few need be left out: one in twenty may
    be slower.
    """
    ended = [record for record in records if record.error != UNFINISHED]
    if len(ended) == len(planned) or not records:
        return tuple(records)
    now = max(record.end_s for record in records)
    took = [record.e2e_s for record in ended if record.ok] or [record.e2e_s for record in ended] or [0.0]
    cut = now - float(np.percentile(took, _TOLD_PERCENTILE if told else 100))
    seen = {record.planned.index: record for record in records}
    found = []
    next_sent = now
    for request in reversed(planned[: max(seen) + 1]):
        record = seen.get(request.index)
        if record is None:
            due = request.arrival_s if request.arrival_s is not None else next_sent
            if request.after is not None:
                former = seen.get(request.after)
                if former is None:  # its client waits for that one's answer
                    continue
                due = max(due, former.end_s + request.think_s)
            record = RequestRecord(request, due, due, now, error=UNFINISHED)
        next_sent = record.sent_s
        if record.scheduled_s <= cut:
            found.append(record)
    return tuple(reversed(found))
