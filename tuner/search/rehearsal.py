"""One level on the simulator, in memory: what a load would see from one configuration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuner.core.slo import Metric, Slo
from tuner.core.workload import Lengths, Load, Workload
from tuner.search.steady import Engine
from tuner.simulator.scheduler import Scheduler, SimRequest, prefix_hashes

# The first requests find an empty engine; what they see is not the steady state.
_WARM_UP = 0.15


@dataclass
class _Seen:
    """One request as its client sees it; seconds since the level's start."""

    due: float
    entered: float = 0.0
    tokens: list[tuple[float, int]] = field(default_factory=list)  # (time, count)


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
    rng = random.Random(seed)
    scheduler = Scheduler(engine.settings, engine.kv_tokens, engine.cost, seed=seed)
    planned = [_request(index, workload, engine, rng) for index in range(requests)]
    gaps = [rng.expovariate(1.0) for _ in range(requests)]
    unserved = sum(not scheduler.fits(request) for request in planned)
    if unserved:
        return Rehearsal({metric: [] for metric in Metric}, 0.0, unserved)
    seen = [_Seen(0.0) for _ in planned]
    if load.rate is not None:
        now = 0.0
        for one, gap in zip(seen, gaps, strict=True):
            now += gap / load.rate
            one.due = now
    _play(scheduler, engine, planned, seen, load.concurrency)
    return _summary(seen[int(_WARM_UP * requests) :], _rate(seen))


def _play(
    scheduler: Scheduler, engine: Engine, planned: Sequence[SimRequest], seen: list[_Seen], clients: int | None
) -> None:
    """Run until everything is answered; the front end takes requests in order, one at a time."""
    now = front_free = 0.0
    sent = finished = 0

    def send(due: float) -> None:
        """Hand the next request to the front end; it reaches the engine at `entered`."""
        nonlocal sent, front_free
        front_free = max(due, front_free) + engine.cost.admission_s(planned[sent].prompt_tokens)
        seen[sent].due, seen[sent].entered = due, front_free
        sent += 1

    if clients is None:
        while sent < len(planned):
            send(seen[sent].due)
    entered = 0
    while finished < len(planned):
        while clients is not None and sent < len(planned) and sent - finished < clients:
            send(now)
        if scheduler.idle and entered < sent:
            now = max(now, seen[entered].entered)
        while entered < sent and seen[entered].entered <= now:
            scheduler.add(planned[entered])
            entered += 1
        limit = seen[entered].entered - now if entered < sent else math.inf
        stretch = scheduler.run_ahead(limit)
        if stretch is not None:
            for duration in stretch.durations:
                now += duration
                for index in stretch.ids:
                    seen[index].tokens.append((now, 1))
            continue
        outcome = scheduler.step()
        now += outcome.duration_s
        for index, count in outcome.tokens:
            seen[index].tokens.append((now, count))
        finished += len(outcome.finished)


def _request(index: int, workload: Workload, engine: Engine, rng: random.Random) -> SimRequest:
    prompt = workload.shared_prefix + _length(workload.prompt, rng)
    output = _length(workload.output, rng)
    group = rng.randrange(max(1, workload.prefix_groups))
    room = engine.settings.max_model_len
    prompt = min(prompt, max(1, room - 1))
    hashes = prefix_hashes(group, workload.shared_prefix, engine.settings.block_size)
    return SimRequest(index, prompt, min(output, room - prompt), hashes if workload.shared_prefix else ())


def _length(lengths: Lengths, rng: random.Random) -> int:
    if not lengths.cv:
        return max(1, lengths.mean)
    sigma = math.sqrt(math.log(1 + lengths.cv**2))
    return max(1, round(rng.lognormvariate(math.log(lengths.mean) - sigma**2 / 2, sigma)))


def _summary(seen: Sequence[_Seen], rate: float) -> Rehearsal:
    samples: dict[Metric, list[float]] = {metric: [] for metric in Metric}
    for one in seen:
        first, last = one.tokens[0][0], one.tokens[-1][0]
        count = sum(tokens for _, tokens in one.tokens)
        samples[Metric.TTFT].append(first - one.due)
        samples[Metric.E2E].append(last - one.due)
        if count > 1:
            samples[Metric.TPOT].append((last - first) / (count - 1))
        times = [time for time, _ in one.tokens]
        samples[Metric.ITL] += [later - earlier for earlier, later in itertools.pairwise(times)]
    return Rehearsal(samples, rate, 0)


def _rate(seen: Sequence[_Seen]) -> float:
    """Requests answered per second, from the first quarter's end (the first all end together) to the last one sent:
    what is left over then drains at its own pace."""
    ends = sorted(one.tokens[-1][0] for one in seen)
    begin, last = ends[len(ends) // 4], seen[-1].due
    end = last if last > begin else ends[-1]
    return sum(begin < time <= end for time in ends) / (end - begin) if end > begin else 0.0


def _statistic(samples: list[float], name: str) -> float:
    if name == "mean":
        return sum(samples) / len(samples)
    ordered = sorted(samples)
    share = 1.0 if name == "max" else int(name[1:]) / 100
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share else 0)]
