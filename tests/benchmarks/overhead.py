"""Own overhead per trial: `python -m tests.benchmarks.overhead`.

The wall time of each trial of a search on a simulated engine with SQLite on disk, less what was spent inside the
target (starting the engine) and the driver (running levels): suggesting, screening, planning and testing levels,
recording, telling. What happens once per study (the prior, Optuna's tables) is told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.ground import loop_on, publish
from tests.benchmarks.search_regret import SCENARIOS, Setup, ours
from tuner.core.knob import Candidate
from tuner.core.request import GreedyOutput, LevelPlan, LevelRecords, RequestRecord
from tuner.simulator.truth import Truth
from tuner.store import Store, TrialKind
from tuner.study.progress import Event, TrialBegan, TrialEnded
from tuner.targets.simulated import SimulatedDriver, SimulatedTarget
from tuner.targets.target import Progress, Running


@dataclass
class Outside:
    """Seconds spent in the engine's place."""

    seconds: float = 0.0


class TimedTarget(SimulatedTarget):
    """A simulated target whose own time is counted."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.outside = Outside()

    async def apply(self, candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        """Start, and count."""
        began = time.perf_counter()
        try:
            running = await super().apply(candidate, deadline_s, progress)
        finally:
            self.outside.seconds += time.perf_counter() - began
        assert isinstance(running.driver, SimulatedDriver)
        return replace(running, driver=TimedDriver(running.driver, self.outside))


@dataclass
class TimedDriver:
    """A driver whose own time is counted; the probe's looks at a level are not the driver's."""

    driver: SimulatedDriver
    outside: Outside
    needs_text: bool = False

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        """Run a level, and count."""
        looking = 0.0

        def look(records: Sequence[RequestRecord]) -> bool:
            nonlocal looking
            since = time.perf_counter()
            answer = stop(records)
            looking += time.perf_counter() - since
            return answer

        began = time.perf_counter()
        try:
            return await self.driver.level(plan, look)
        finally:
            self.outside.seconds += time.perf_counter() - began - looking

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        """As the driver."""
        return await self.driver.greedy(prompts, max_tokens)

    async def close(self) -> None:
        """As the driver."""
        await self.driver.close()


@dataclass
class Watch:
    """Own seconds per trial, from the end of the trial before (so that suggesting counts) to its own end."""

    outside: Outside
    since: float = 0.0
    outside_before: float = 0.0
    own_s: list[float] = field(default_factory=list)

    def restart(self) -> None:
        """The next trial begins."""
        self.since, self.outside_before = time.perf_counter(), self.outside.seconds

    def __call__(self, event: Event) -> None:
        """Of the events of a loop, the ends of trials matter."""
        if isinstance(event, TrialBegan) and event.kind is TrialKind.BASELINE:
            self.restart()
        if isinstance(event, TrialEnded) and not event.screened:
            own = time.perf_counter() - self.since - (self.outside.seconds - self.outside_before)
            self.own_s.append(own)
            self.restart()


async def measure(index: int, starts: int) -> tuple[float, list[float], float]:
    """Seconds before the first trial, own seconds per trial, and the mean of levels per trial."""
    scenario = SCENARIOS[index]
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{Path(folder) / 'b.db'}") as store:
        target = scenario.made(TimedTarget, Truth(1))
        watch = Watch(target.outside)
        began = time.perf_counter()
        loop = await loop_on(
            scenario,
            target,
            store,
            lambda space, info, study: ours(Setup(scenario, store, space, info, study, 1)),
            starts=starts,
            pairs=0,
            seed=1,
            observe=watch,
        )
        before = time.perf_counter() - began
        await loop.search()
        levels = [len(t.measurement.levels) for t in loop.trials if t.measurement is not None]
        return before, watch.own_s, statistics.fmean(levels)


HEADER = ("scenario", "trials", "own seconds per trial, median", "most", "levels per trial", "once per study")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=16)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--quick", action="store_true", help="3 trials of one scenario")
    options = parser.parse_args(arguments)
    rows = []
    for index in (0,) if options.quick else (0, 1, 3):
        before, own, levels = asyncio.run(measure(index, 3 if options.quick else options.starts))
        rows.append(
            (
                SCENARIOS[index].name,
                str(len(own)),
                f"{statistics.median(own):.2f}",
                f"{max(own):.2f}",
                f"{levels:.1f}",
                f"{before:.1f} s",
            )
        )
    publish("overhead", "Own overhead, seconds", HEADER, rows, write=options.write)


if __name__ == "__main__":
    main()
