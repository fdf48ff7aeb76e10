"""What the probe is asked to do with one started engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tuner.core.measurement import Level
from tuner.core.slo import Slo
from tuner.core.workload import Objective, Workload

#: Told of each level as it ends, for a live view; may be a plain function or a coroutine function.
OnLevel = Callable[[Level], Awaitable[None] | None]


@dataclass(frozen=True)
class Limits:
    """What one measurement may cost.

    A level lasts for longer than `level_s` only where fewer requests could not pass its SLOs for certain (59 for a
    p95, 299 for a p99), or where the engine is not steady before: then for a sixth of `total_s` at most. `left_s` is
    asked before each level for the seconds that remain until the study's own deadline (None: no deadline); a search
    that runs out of time returns what it knows.
    """

    level_s: float = 120.0
    total_s: float = 1800.0
    levels: int = 24
    left_s: Callable[[], float] | None = None


@dataclass(frozen=True)
class Job:
    """One measurement: what is sent, what is asked, where the search begins and what it may cost.

    For the objective `capacity`:

    * `incumbent_rate` (requests/s) is the rate at which the best known configuration passes. A candidate that does not
      pass there is cut short: the measurement is censored (`Measurement.value_high`).
    * `start_rate` is where the search begins when there is no incumbent to beat, or when `full` is set; None: the
      objective's rate, else guessed by a short closed loop.
    * `full` searches to the end whatever the incumbent (baseline, confirmation).

    `seed` decides the texts of prompts, and `pattern_seed` lengths and arrival times: measurements that share a pattern
    meet the same bursts and the same work (common random numbers). A capacity read off one pattern of some hundred
    arrivals carries 10 % of luck; what two configurations reach on the same pattern compares far better.

    `restart_cv` is the relative noise between starts: the search ends once it knows the capacity to half of that.
    `on_warm` is awaited once, between the warm-up and the first level.
    """

    workload: Workload
    objective: Objective
    slos: tuple[Slo, ...]
    seed: int
    incumbent_rate: float | None = None
    start_rate: float | None = None
    full: bool = False
    restart_cv: float = 0.035
    limits: Limits = field(default_factory=Limits)
    on_level: OnLevel | None = None
    on_warm: Callable[[], Awaitable[None]] | None = None
    pattern_seed: int = 0
