"""How often a level's verdict is wrong: `python -m tests.benchmarks.level_verdicts`.

Queues with c servers and Poisson arrivals (M/D/c, and M/G/c by output lengths that differ) whose true share of
exceedances is known from a long run. At the very rate at which a promise is just kept, a level may PASS or FAIL in 5 %
of all cases each; at other rates, what it can't tell costs time. A few minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.ground import publish
from tests.unit.probe.queue_driver import QueueDriver
from tuner.core.measurement import Answer, Level
from tuner.core.request import LevelPlan
from tuner.core.slo import Slo, parse_slo
from tuner.core.workload import Lengths, Load, Workload
from tuner.probe import Limits
from tuner.probe.verdict.level import LevelTest, size_of
from tuner.probe.verdict.statistics import latencies
from tuner.probe.workload.requests import Requests

_LEVELS = 300
_LONG = 60_000
_SHARES = (0.7, 0.85, 1.0, 1.15)  # of the rate at which the promise is just kept
_OUTPUT = Lengths(16)
_LIMITS = Limits(level_s=60, total_s=900)


@dataclass(frozen=True)
class Engine:
    """A queue, and the promise that it gives."""

    name: str
    servers: int
    slo: str
    output: Lengths = _OUTPUT
    slower: float = 1.0

    def driver(self) -> QueueDriver:
        """The engine, empty."""
        return QueueDriver(servers=self.servers, prefill_s=0.1 * self.slower, step_s=0.02 * self.slower)

    @property
    def promise(self) -> Slo:
        """Its SLO."""
        return parse_slo(self.slo)

    @property
    def workload(self) -> Workload:
        """What it is sent."""
        return Workload(Lengths(64), self.output)

    def plan(self, load: Load, count: int, seed: int) -> LevelPlan:
        """A level of `count` requests that nothing ends before."""
        drawn = Requests.of(self.workload, seed, seed, False).draw(load, count)
        return LevelPlan(load, drawn, (), 1e6, 1e9)


ENGINES = (
    Engine("M/D/1", 1, "ttft p95 <= 1500ms"),
    Engine("M/D/8", 8, "ttft p95 <= 500ms"),
    Engine("M/D/8, ten times slower", 8, "ttft p95 <= 5s", slower=10.0),
    Engine("M/D/32", 32, "ttft p95 <= 300ms"),
    Engine("M/G/8", 8, "ttft p95 <= 800ms", Lengths(16, 1.0)),
    Engine("M/G/8, e2e", 8, "e2e p95 <= 2s", Lengths(16, 1.0)),
)


async def boundary(engine: Engine) -> float:
    """The rate at which the promise is just kept: bisection on long runs that share their arrivals."""
    saturated = engine.servers / engine.driver().service_s(engine.output.mean)
    low, high = 0.3 * saturated, 1.2 * saturated
    while high / low > 1.002:
        rate = (low * high) ** 0.5
        if await _exceeding(engine, rate) > 0.05:
            high = rate
        else:
            low = rate
    return low


async def _exceeding(engine: Engine, rate: float) -> float:
    shares = []
    for seed in range(3):
        found = await engine.driver().level(engine.plan(Load(rate=rate), _LONG, 1000 + seed), lambda _: False)
        values = latencies(engine.promise.metric, found.records[_LONG // 20 :])
        shares.append(float(np.mean(values > engine.promise.bound)))
    return statistics.fmean(shares)


async def level(engine: Engine, rate: float, seed: int) -> Level:
    """One level as a measurement runs it."""
    load, slos = Load(rate=rate), (engine.promise,)
    size = size_of(load, slos, _LIMITS, engine.driver().service_s(engine.output.mean))
    requests = Requests.of(engine.workload, seed, seed, False).draw(load, size.requests)
    test = LevelTest(load, slos, requests, size)
    return test.level(await engine.driver().level(test.plan(), test.stop))


async def row(engine: Engine, levels: int) -> list[str]:
    """One engine as a line of the table."""
    rate = await boundary(engine)
    cells = [engine.name, engine.slo, f"{rate:.2f}"]
    for share in _SHARES:
        found = [await level(engine, share * rate, seed) for seed in range(levels)]
        answers = Counter(one.answer for one in found)
        cells.append(" / ".join(f"{answers[answer] / levels:.1%}" for answer in (Answer.PASS, Answer.FAIL)))
        cells.append(f"{statistics.median(one.duration_s for one in found):.0f} s")
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, default=_LEVELS, help="levels at each rate")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args(arguments)
    header = ["engine", "promise", "just kept at, req/s"]
    for share in _SHARES:
        header += [f"PASS / FAIL at x {share:g}", "level"]
    rows = [asyncio.run(row(engine, options.levels)) for engine in ENGINES]
    publish("level verdicts", "Verdicts of levels", header, rows, write=options.write)


if __name__ == "__main__":
    main()
