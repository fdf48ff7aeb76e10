"""One level on the simulator, in memory: what a load would see from one configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuner.core.request import PlannedRequest, RequestRecord
from tuner.core.slo import Metric, Slo
from tuner.core.workload import Load, Workload
from tuner.search.steady import Engine
from tuner.simulator.requests import plan_requests
from tuner.simulator.run import simulate

# The first requests find an empty engine; what they see is not the steady state.
_WARM_UP = 0.15


@dataclass(frozen=True)
class Rehearsal:
    """What one level showed, its warm-up excluded. Seconds, and requests/s for `rate`."""

    samples: dict[Metric, list[float]]
    rate: float
    unserved: int

    def violation(self, slo: Slo) -> float:
        """Signed and relative, as in a verdict: (statistic - bound) / bound; +1 without evidence."""
        if slo.metric is Metric.ERROR_RATE:
            return 1.0 if self.unserved else -1.0
        samples = self.samples[slo.metric]
        if self.unserved or not samples:
            return 1.0
        return (_statistic(samples, slo.statistic) - slo.bound) / slo.bound


def rehearse(engine: Engine, workload: Workload, load: Load, *, requests: int, seed: int) -> Rehearsal:
    """Send `requests` requests at `load` to an idle simulated engine and watch until all are answered.

    The same seed draws the same lengths and the same arrivals, stretched by the rate.
    """
    room = engine.settings.max_model_len
    planned = [_within(room, request) for request in plan_requests(workload, load, requests, seed)]
    records = simulate(engine.settings, engine.kv_tokens, engine.cost, planned, load, seed=seed).records
    unserved = sum(not record.ok for record in records)
    if unserved:
        return Rehearsal({metric: [] for metric in Metric}, 0.0, unserved)
    return Rehearsal(_samples(records[int(_WARM_UP * requests) :]), _rate(records), 0)


def _within(room: int, request: PlannedRequest) -> PlannedRequest:
    """The request, cut to the longest context that the engine serves."""
    prompt = min(request.prompt_tokens, max(1, room - 1))
    return replace(request, prompt_tokens=prompt, output_tokens=min(request.output_tokens, room - prompt))


def _samples(records: Sequence[RequestRecord]) -> dict[Metric, list[float]]:
    return {
        Metric.TTFT: [one.ttft_s for one in records if one.ttft_s is not None],
        Metric.E2E: [one.e2e_s for one in records],
        Metric.TPOT: [one.tpot_s for one in records if one.tpot_s is not None],
        Metric.ITL: [gap for one in records for gap in one.itl_s],
    }


def _rate(records: Sequence[RequestRecord]) -> float:
    """Requests answered per second, from the first quarter's end (the first all end together) to the last one sent:
    what is left over then drains at its own pace."""
    ends = sorted(record.end_s for record in records)
    begin, last = ends[max(0, len(ends) // 4 - 1)], max(record.sent_s for record in records)
    end = last if last > begin else ends[-1]
    return sum(begin < time <= end for time in ends) / (end - begin) if end > begin else 0.0


def _statistic(samples: list[float], name: str) -> float:
    if name == "mean":
        return sum(samples) / len(samples)
    ordered = sorted(samples)
    share = 1.0 if name == "max" else int(name[1:]) / 100
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share else 0)]
