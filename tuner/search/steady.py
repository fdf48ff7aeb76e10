"""A rough steady state in closed form: thousands of configurations a second, to choose the few worth simulating.

In the steady state of rate r a step of t seconds decodes r * output * t sequences (each request takes one token per
step) and prefills r * prompt * t tokens, and takes cost(those); the smallest t that fulfils this is the step time.
Waiting adds Pollaczek-Khinchine for prefills and Sakasegawa's formula for the max_num_seqs slots; tails are taken as
exponential. Only the order of configurations is meant to be right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuner.core.slo import Metric, Slo
from tuner.core.workload import Workload
from tuner.simulator.cost import StepCost, StepWork
from tuner.simulator.settings import Settings

_ROUNDS = 40
_TAILS = {"mean": 1.0, "p50": 0.7, "p90": 2.3, "p95": 3.0, "p99": 4.6, "max": 6.0}


@dataclass(frozen=True)
class Engine:
    """One configuration as far as speed goes: its settings, its KV cache in tokens, its step cost."""

    settings: Settings
    kv_tokens: int
    cost: StepCost


@dataclass(frozen=True)
class Steady:
    """The steady state at one rate. Seconds."""

    step_s: float
    chunk_step_s: float  # a step that carries as much of a prompt as fits
    chunks_per_token: float  # how many such steps fall on one decoded token
    prefill_s: float
    waiting_s: float

    def statistic(self, slo: Slo, workload: Workload) -> float:
        """The statistic that an SLO bounds, in seconds."""
        tail = _TAILS[slo.statistic]
        first = self.prefill_s + self.waiting_s * tail
        if slo.metric is Metric.TTFT:
            return first
        if slo.metric is Metric.E2E:
            spread = 1 + workload.output.cv * (tail - 1) / 2
            return first + workload.output.mean * self.step_s * spread
        if slo.metric is Metric.TPOT or slo.statistic == "mean":
            return self.step_s
        share = slo.allowed_share or 0.0
        return self.chunk_step_s if self.chunks_per_token > share else self.step_s


def steady(engine: Engine, workload: Workload, rate: float) -> Steady | None:
    """The steady state at `rate` requests/s, or None where there is none: the engine can't keep up."""
    settings, cost = engine.settings, engine.cost
    prompt, output = _prefilled(engine, workload), workload.output.mean
    context = _prompt(workload) + output / 2
    slots = min(settings.max_num_seqs, _room(engine, workload))
    if slots < 1:
        return None
    step = 0.0
    for _ in range(_ROUNDS):
        batch = rate * output * step
        if batch > slots or batch + rate * prompt * step > settings.max_num_batched_tokens:
            return None
        work = StepWork(
            prefill_tokens=round(rate * prompt * step),
            prefill_pairs=round(rate * step * prompt * prompt / 2),
            decode_sequences=max(1, round(batch)),
            context_tokens=round(max(1.0, batch) * context),
            drafted=settings.num_speculative_tokens,
        )
        longer = cost.seconds(work)
        if abs(longer - step) < 1e-4 * longer:
            break
        step = longer
    else:
        return None
    return _queues(engine, workload, rate, step, slots)


def _queues(engine: Engine, workload: Workload, rate: float, step: float, slots: float) -> Steady | None:
    settings, cost = engine.settings, engine.cost
    prompt, output = _prefilled(engine, workload), workload.output.mean
    batch = rate * output * step
    room = max(1.0, settings.max_num_batched_tokens - batch)
    chunk = min(room, 2 * prompt)
    full = cost.seconds(
        StepWork(
            prefill_tokens=round(chunk),
            prefill_sequences=1,
            prefill_pairs=round(chunk * prompt / 2),
            decode_sequences=max(1, round(batch)),
            context_tokens=round(batch * (_prompt(workload) + output / 2)),
            drafted=settings.num_speculative_tokens,
        )
    )
    chunks = max(1.0, prompt / room)
    service = chunks * full * min(1.0, prompt / chunk if chunks == 1 else 1.0)
    front = cost.admission_s(round(_prompt(workload)))
    busy = rate * service
    if busy >= 1 or rate * front >= 1 or batch >= slots:
        return None
    squared = (1 + workload.prompt.cv**2) / 2
    waiting = busy * service * squared / (1 - busy) + rate * front * front / (2 * (1 - rate * front))
    used = batch / slots
    lifetime = output * step
    waiting += lifetime * used ** (math.sqrt(2 * (slots + 1)) - 1) / (slots * (1 - used))
    return Steady(step, full, rate * chunks * step, front + service + step, waiting)


def _prompt(workload: Workload) -> float:
    """Tokens of a prompt: prefix, what was said before, and its own."""
    return workload.mean_prefix + workload.mean_history + workload.prompt.mean


def _prefilled(engine: Engine, workload: Workload) -> float:
    """Prompt tokens that are computed per request: what others or a former turn computed only where it is not cached.

    A former answer is computed once more with the next turn.
    """
    if not engine.settings.enable_prefix_caching:
        return _prompt(workload)
    return workload.prompt.mean + workload.output.mean * (1 - 1 / workload.turns)


def _room(engine: Engine, workload: Workload) -> float:
    """How many whole requests the KV cache holds; a cached prefix is held once for all."""
    shared = workload.shared_prefix
    own = workload.mean_history + workload.prompt.mean + workload.output.mean
    if not engine.settings.enable_prefix_caching:
        return engine.kv_tokens / (workload.mean_prefix + own)
    return (engine.kv_tokens - max(1, workload.prefix_groups) * shared) / own


def capacity(engine: Engine, workload: Workload, slos: tuple[Slo, ...]) -> float:
    """The highest rate (requests/s) with a steady state in which every SLO holds; 0 where there is none."""

    def holds(rate: float) -> bool:
        state = steady(engine, workload, rate)
        return state is not None and all(
            slo.metric is Metric.ERROR_RATE or state.statistic(slo, workload) <= slo.bound for slo in slos
        )

    low, high = 0.0, 0.05
    while holds(high) and high < 1e4:
        low, high = high, high * 2
    for _ in range(12):
        middle = (low + high) / 2
        if low and high / low < 1.01:
            break
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
