"""How often the confirmation errs: `python -m tests.benchmarks.confirmation`.

Whole confirmations on simulated engines with noise, of a finalist that is (a) as good as the baseline, (b) better by
10 %. The finalist differs in a knob that does next to nothing there (`block_size`); for (b) the hidden truth makes its
steps as much shorter as it takes for a noise-free capacity of 1.10 times the baseline's, which is verified.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.ground import Scenario, Yardstick, loop_on, publish, remembered
from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate
from tuner.core.workload import Lengths, Workload
from tuner.search import RandomSampler
from tuner.simulator.run import Noise
from tuner.simulator.settings import Settings
from tuner.simulator.truth import TrueCost, Truth
from tuner.store import Store
from tuner.study.confirm import Conclusion, Confirming

# Of what is kept: raise one when the simulator changes, the other when confirmations do.
_ENGINES, _CONFIRMATIONS = 2, 7
_TRUTHS = 10
_MARK = 32  # the finalist's block size
_CHAT = Workload(Lengths(1024, 0.5), Lengths(256, 0.5))

#: Noise reaches the capacity as it is where the batch is full at the knee, and about doubled where latencies of a batch
#: decide: there a slower step means a larger batch means a slower step.
SCENARIOS = (
    Scenario(
        "few slots, TTFT", "Llama-3.1-8B", "H100", _CHAT, ("ttft p95 <= 1s",), baseline=Candidate.of(max_num_seqs=64)
    ),
    Scenario("batch latency, TPOT", "Llama-3.1-8B", "H100", _CHAT, ("ttft p95 <= 1s", "tpot p95 <= 30ms")),
)


class RiggedTruth(Truth):
    """A truth under which the finalist's steps take `scale` times as long; `luck` draws the noise of starts anew."""

    def __init__(self, seed: int, scale: float, luck: int, *, noise: bool = True) -> None:
        super().__init__(seed, noise=noise)
        self.finalist_scale, self._offset = scale, 1000 * luck

    def cost(self, model: Model, gpu: Gpu, settings: Settings, start: int) -> TrueCost:
        """Step cost of one start."""
        cost = super().cost(model, gpu, settings, start + self._offset)
        return Scaled(cost, self.finalist_scale) if settings.block_size == _MARK else cost

    def level_noise(self, start: int, level: int) -> Noise:
        """Noise of one level."""
        return super().level_noise(start + self._offset, level)


class Scaled(TrueCost):
    """A step cost times a factor."""

    def __init__(self, cost: TrueCost, factor: float) -> None:
        self.__dict__.update(cost.__dict__)
        self._scale *= factor


@dataclass(frozen=True)
class Study:
    """One confirmation: what was true and what it said. `gain` and the interval are None without a comparison."""

    truth: float
    better: bool
    starts: int
    gain: float | None
    low: float | None
    high: float | None
    noise: float | None

    @property
    def covers(self) -> bool | None:
        """Whether the interval holds the true gain."""
        return None if self.low is None or self.high is None else self.low <= self.truth <= self.high


def finalist_of(scenario: Scenario) -> Candidate:
    """The baseline with another block size."""
    return scenario.baseline.with_(block_size=_MARK)


def rig(scenario: Scenario, seed: int, ratio: float, fresh: bool) -> dict[str, Any]:
    """The factor on the finalist's step times for `ratio` times the baseline's noise-free capacity, and what it is."""

    def make() -> dict[str, Any]:
        base = Yardstick(scenario, Truth(seed, noise=False))
        plain = base.capacity(scenario.baseline)
        if ratio == 1.0:
            same = base.capacity(finalist_of(scenario), plain)
            return {"scale": 1.0, "ratio": same / plain, "capacity": plain}
        scale = reached = 1.0
        guess = plain
        low, high = 0.7, 1.0
        for _ in range(8):
            scale = (low + high) / 2
            rigged = Yardstick(scenario, RiggedTruth(seed, scale, 0, noise=False))
            guess = rigged.capacity(finalist_of(scenario), guess)
            reached = guess / plain
            if abs(reached / ratio - 1) < 0.005:
                break
            low, high = (low, scale) if reached < ratio else (scale, high)
        return {"scale": scale, "ratio": reached, "capacity": plain}

    return remembered("confirmation", f"rig {_ENGINES} {scenario} {seed} {ratio}", make, fresh)


async def confirm_once(scenario: Scenario, seed: int, luck: int, rigged: dict[str, Any], pairs: int) -> dict[str, Any]:
    """One confirmation on an engine whose baseline has been measured once, as a search would have."""
    target = scenario.target(RiggedTruth(seed, rigged["scale"], luck))
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{Path(folder) / 'b.db'}") as store:
        loop = await loop_on(
            scenario,
            target,
            store,
            lambda space, _info, _study: RandomSampler(space, seed),
            starts=1 + 2 * pairs,
            pairs=pairs,
            seed=10_000 * (seed + 1) + 100 * luck,
        )
        await loop.measure_baseline()
        found = await Confirming(loop, finalist_of(scenario), check_output=False).run()
        comparison = found.comparison
        return {
            "better": found.conclusion is Conclusion.BETTER,
            "reason": found.reason,
            "starts": loop.ledger.starts - 1,
            "gain": comparison.gain if comparison else None,
            "low": comparison.low if comparison else None,
            "high": comparison.high if comparison else None,
            "values": [[t.reason, t.verdict.value if t.verdict else None] for t in loop.trials],
        }


def studies(scenario: Scenario, ratio: float, count: int, pairs: int, fresh: bool) -> list[Study]:
    """`count` confirmations over several hidden truths."""
    found = []
    for index in range(count):
        seed, luck = index % _TRUTHS, 1 + index // _TRUTHS
        rigged = rig(scenario, seed, ratio, fresh)
        kept = remembered(
            "confirmation",
            f"study {_CONFIRMATIONS} {scenario} {seed} {luck} {ratio} {pairs}",
            lambda: asyncio.run(confirm_once(scenario, seed, luck, rigged, pairs)),  # noqa: B023
            fresh,
        )
        noise = _noise([value for _, value in kept["values"][1:]])
        bounds = (kept["gain"], kept["low"], kept["high"])
        found.append(Study(rigged["ratio"] - 1, kept["better"], kept["starts"], *bounds, noise))
        print(f"\r{scenario.name}, x{ratio}: {index + 1} of {count}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return found


def _noise(values: Sequence[float | None]) -> float | None:
    """Variance of the log-values between starts of one side in one block: half of the squared difference each."""
    squares = []
    for first in range(0, len(values) - 3, 4):
        a1, b1, b2, a2 = values[first : first + 4]
        squares += [(math.log(x) - math.log(y)) ** 2 / 2 for x, y in ((a1, a2), (b1, b2)) if x and y]
    return statistics.fmean(squares) if squares else None


HEADER = (
    "scenario",
    "true gain",
    "studies",
    "called better",
    "intervals that hold the truth",
    "starts, mean",
    "estimate, mean",
    "noise of a start",
)


def row(scenario: Scenario, found: Sequence[Study]) -> tuple[str, ...]:
    """One line of the table."""
    covers = [study.covers for study in found if study.covers is not None]
    gains = [study.gain for study in found if study.gain is not None]
    noises = [study.noise for study in found if study.noise is not None]
    truths = [study.truth for study in found]
    return (
        scenario.name,
        f"{statistics.fmean(truths):+.1%} ({min(truths):+.1%} to {max(truths):+.1%})",
        str(len(found)),
        str(sum(study.better for study in found)),
        f"{sum(covers)} of {len(covers)}",
        f"{statistics.fmean(study.starts for study in found):.1f}",
        f"{statistics.fmean(gains):+.1%}" if gains else "-",
        f"{math.sqrt(statistics.fmean(noises)):.1%}" if noises else "-",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=50, help="of each kind")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--scenario", type=int, choices=range(len(SCENARIOS)), help="only this one")
    parser.add_argument("--fresh", action="store_true", help="don't use what earlier runs have kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--quick", action="store_true", help="two studies of each kind in the first scenario")
    options = parser.parse_args(arguments)
    chosen = SCENARIOS if options.scenario is None else (SCENARIOS[options.scenario],)
    count = 2 if options.quick else options.studies
    rows = [
        row(scenario, studies(scenario, ratio, count, options.pairs, options.fresh))
        for scenario in (chosen[:1] if options.quick else chosen)
        for ratio in (1.0, 1.1)
    ]
    publish("confirmation", f"At most {options.pairs} pairs, smallest gain 5 %", HEADER, rows, write=options.write)


if __name__ == "__main__":
    main()
