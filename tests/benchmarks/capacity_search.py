"""How near the capacity of a trial comes to the truth, and what it takes: `python -m tests.benchmarks.capacity_search`.

Six scenarios with three configurations and ten hidden truths each. Every configuration is started three times, and each
start is searched from another place: with nothing known, from an incumbent that holds a third of its capacity, and from
one that holds 0.9 of it. What is found is divided by the capacity of the very same start, read off long levels without
other noise. "Spread" is the coefficient of variation of what the three starts found, so it has the noise between starts
in it; "beyond the start" is that of the ratios, which has not.

Everything found is kept under XDG_CACHE_HOME, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from tests.benchmarks.ground import Scenario, Yardstick, publish, remembered
from tests.benchmarks.search_regret import SCENARIOS
from tuner.core.cause import TrialFailed
from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate
from tuner.core.workload import Count, Objective
from tuner.probe import Job, measure
from tuner.simulator.settings import Settings
from tuner.simulator.truth import TrueCost, Truth

_VERSION = 9  # of what is kept: raise it when the search for the capacity changes
CANDIDATES: tuple[Candidate | None, ...] = (
    None,  # what the scenario's owner runs today
    Candidate.of(enable_prefix_caching=True, max_num_batched_tokens=2048, max_num_seqs=256),
    Candidate.of(enable_prefix_caching=True, max_num_batched_tokens=8192, max_num_seqs=64),
)
#: The incumbent's rate as a share of the capacity; None: no incumbent.
BEGINNINGS: Mapping[str, float | None] = {"nothing known": None, "a third of it": 1 / 3, "0.9 of it": 0.9}


class OneStart(Truth):
    """The truth of one start of an engine, whatever start is asked for."""

    def __init__(self, seed: int, start: int) -> None:
        super().__init__(seed)
        self.start = start

    def cost(self, model: Model, gpu: Gpu, settings: Settings, start: int) -> TrueCost:  # noqa: ARG002
        """As fast as this start happens to be."""
        return super().cost(model, gpu, settings, self.start)


async def _search(
    scenario: Scenario, seed: int, candidate: Candidate, start: int, rate: float | None
) -> dict[str, Any]:
    target = scenario.target(Truth(seed))
    await target.acquire("benchmark")
    try:
        for _ in range(start):  # each start has a number, and noise of its own
            running = await target.apply(candidate, 1e9, lambda _: None)
        assert running.driver is not None
        job = Job(
            scenario.workload,
            Objective(count=Count.REQUESTS),
            scenario.promises,
            seed=1000 * seed + start,
            incumbent_rate=rate,
            pattern_seed=seed,
        )
        found = await measure(running.driver, job)
    except TrialFailed as failed:
        return {"failed": str(failed.failure.cause)}
    proven = found.level.load.rate if found.value is not None else None
    return {"found": found.value, "proven": proven, "probe_s": found.probe_s, "levels": len(found.levels)}


def searches(
    scenario: Scenario, seed: int, candidates: Sequence[Candidate | None], requests: int, fresh: bool
) -> list[dict[str, Any]]:
    """One row for each configuration and beginning under one hidden truth; those that don't start are left out."""
    rows = []
    for candidate in (scenario.baseline if one is None else one for one in candidates):
        guess = 4.0
        for start, (beginning, share) in enumerate(BEGINNINGS.items(), start=1):
            of = f"{scenario} {seed} {candidate.key} {start}"
            exact = Yardstick(scenario, OneStart(seed, start), requests)
            truth = remembered(
                "capacity",
                f"truth {requests} {of}",
                lambda: {"rate": exact.capacity(candidate, guess)},  # noqa: B023
                fresh,
            )["rate"]
            if not truth:
                continue
            guess = truth
            rate = share and share * truth
            row = remembered(
                "capacity",
                f"search {_VERSION} {of} {truth}",
                lambda: asyncio.run(_search(scenario, seed, candidate, start, rate)),  # noqa: B023
                fresh,
            )
            cell = f"{scenario.name} {seed} {candidate.key}"
            rows.append({**row, "cell": cell, "beginning": beginning, "truth": truth})
    return [row for row in rows if "failed" not in row]


def _spread(rows: Iterable[dict[str, Any]], per_truth: bool) -> float:
    """Pooled within configurations, of what their starts found (over the truth of each start)."""
    squares, freedom = 0.0, 0
    for _, cell in groupby(rows, key=lambda row: row["cell"]):
        logs = [np.log(row["found"] / (row["truth"] if per_truth else 1.0)) for row in cell if row["found"]]
        if len(logs) > 1:
            squares += float(np.var(logs)) * len(logs)
            freedom += len(logs) - 1
    return float(np.sqrt(squares / freedom)) if freedom else 0.0


def _line(name: str, rows: Sequence[dict[str, Any]], spread: bool = True) -> list[str]:
    ratios = [row["found"] / row["truth"] for row in rows if row["found"]]
    proven = [row["proven"] / row["truth"] for row in rows if row["proven"]]
    below = [row["found"] is None for row in rows]
    seconds = [row["probe_s"] for row in rows]
    low, middle, high = np.percentile(ratios, (10, 50, 90)) if ratios else (0.0, 0.0, 0.0)
    return [
        f"{name} ({len(rows)})",
        f"{middle:.2f} ({low:.2f}-{high:.2f})",
        f"{statistics.median(proven):.2f}" if proven else "-",
        f"{_spread(rows, False):.1%}" if spread else "",
        f"{_spread(rows, True):.1%}" if spread else "",
        f"{np.mean(below):.1%}",
        f"{np.median(seconds):.0f} / {np.percentile(seconds, 90):.0f}",
        f"{np.median([row['levels'] for row in rows]):.0f}",
    ]


HEADER = (
    "searches",
    "found / truth: median (p10-p90)",
    "proven / truth",
    "spread",
    "beyond the start",
    "nothing found",
    "probe s: median / p90",
    "levels",
)


def table_of(found: Mapping[str, Sequence[dict[str, Any]]]) -> list[list[str]]:
    """By scenario, by beginning, and of all."""
    everything = [row for rows in found.values() for row in rows]
    lines = [_line(name, rows) for name, rows in found.items() if rows]
    for beginning in BEGINNINGS:
        lines.append(_line(f"from {beginning}", [r for r in everything if r["beginning"] == beginning], spread=False))
    return [*lines, _line("all", everything)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--scenario", type=int, choices=range(len(SCENARIOS)), help="only this one")
    parser.add_argument("--fresh", action="store_true", help="don't use what earlier runs have kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--quick", action="store_true", help="one truth, one scenario, one configuration")
    options = parser.parse_args(arguments)
    chosen = SCENARIOS if options.scenario is None else (SCENARIOS[options.scenario],)
    candidates, requests = CANDIDATES, 1500
    if options.quick:
        chosen, options.seeds, candidates, requests = chosen[:1], 1, CANDIDATES[:1], 300
    found: dict[str, list[dict[str, Any]]] = {scenario.name: [] for scenario in chosen}
    for seed in range(options.seeds):
        for scenario in chosen:
            began = time.monotonic()
            found[scenario.name] += searches(scenario, seed, candidates, requests, options.fresh)
            print(f"{scenario.name}, truth {seed} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
    lines = table_of(found)
    publish("capacity search", "Capacities found", HEADER, lines, write=options.write)


if __name__ == "__main__":
    main()
