"""What a search of 8 starts leaves on the table: `python -m tests.benchmarks.search_regret`.

Six scenarios with ten hidden truths each. Every method has the same screen, baseline, capacity search and number of
starts (the baseline's is one of them), on an engine with noise. What it would hand to the confirmation is then measured
again without noise, and compared with the best that is known: a grid of 288 points, its five best measured again under
other arrivals, and whatever a method found. Regret is 1 - value / best.

Everything found is kept under XDG_CACHE_HOME, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.ground import Scenario, Yardstick, loop_on, publish, remembered
from tuner.core.cause import TrialFailed
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.core.workload import Lengths, Objective, Workload
from tuner.search import Expecting, OptunaSampler, RandomSampler, Sampler, Space, rank
from tuner.search.steady import Engine, capacity
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.memory import plan
from tuner.simulator.settings import DEFAULT_VERSION, resolve
from tuner.simulator.truth import Truth
from tuner.store import Store

# Of what is kept: raise one when the simulator changes, the other when searches do.
_ENGINES, _SEARCHES = 2, 8
_FIRST = 3
_CLOSE = 0.97  # grid points that don't hold this share of the best rate so far are left
_HOPELESS = 0.4  # nor are those looked at of which the closed form, with the true constants, expects so little

_CHAT = Workload(Lengths(1024, 0.5), Lengths(256, 0.5))
SCENARIOS = (
    Scenario("chat, 8B on H100", "Llama-3.1-8B", "H100", _CHAT, ("ttft p95 <= 500ms", "itl p99 <= 50ms")),
    Scenario(
        "long prefixes, 8B on A100-80",
        "Qwen3-8B",
        "A100-80",
        Workload(Lengths(256, 0.5), Lengths(192, 0.5), shared_prefix=2048, prefix_groups=8),
        ("ttft p95 <= 600ms", "tpot p95 <= 40ms"),
        baseline=Candidate.of(enable_prefix_caching=False),
    ),
    Scenario(
        "short of memory, 70B on 2 x H100",
        "Llama-3.1-70B",
        "H100",
        Workload(Lengths(1024, 0.5), Lengths(256, 0.5)),
        ("ttft p95 <= 2s", "tpot p95 <= 60ms"),
        gpu_count=2,
        fixed=(("max_model_len", 8192), ("tensor_parallel_size", 2)),
        baseline=Candidate.of(max_num_seqs=32),
    ),
    Scenario(
        "small GPU, 8B on L4",
        "Llama-3.1-8B",
        "L4",
        Workload(Lengths(512, 0.5), Lengths(128, 0.5)),
        ("ttft p95 <= 2s", "itl p95 <= 150ms"),
        fixed=(("max_model_len", 4096),),
    ),
    Scenario(
        "decode, mixture of experts on H100",
        "Qwen3-30B-A3B",
        "H100",
        Workload(Lengths(128, 0.5), Lengths(768, 0.5)),
        ("ttft p95 <= 1s", "tpot p95 <= 25ms"),
    ),
    Scenario(
        "long prompts, 32B on A100-80",
        "Qwen3-32B",
        "A100-80",
        Workload(Lengths(3072, 0.5), Lengths(128, 0.5)),
        ("ttft p95 <= 10s", "e2e p95 <= 40s"),
        fixed=(("max_model_len", 16384),),
    ),
)


@dataclass(frozen=True)
class Setup:
    """What a sampler is made from; `study` is the study's id."""

    scenario: Scenario
    store: Store
    space: Space
    info: TargetInfo
    study: int
    seed: int


def _expecting(scenario: Scenario, seed: int) -> Expecting:
    return Expecting(
        model=MODELS[scenario.model],
        gpu=GPUS[scenario.gpu],
        workload=scenario.workload,
        objective=Objective(),
        slos=scenario.promises,
        gpu_count=scenario.gpu_count,
        fixed=dict(scenario.fixed),
        version=DEFAULT_VERSION,
        seed=seed,
    )


def _tpe(setup: Setup, first: Sequence[tuple[Candidate, str]]) -> Sampler:
    return OptunaSampler(
        setup.space,
        setup.store.url,
        f"b-{setup.study}",
        setup.seed,
        first,
        slos=list(setup.scenario.slos),
        startup=1 + _FIRST,
        lock=setup.store.setup_lock(),
    )


def ours(setup: Setup) -> Sampler:
    """As a study does it: the prior's first, then TPE."""
    prior = rank(setup.space, _expecting(setup.scenario, setup.seed), setup.info.baseline, _FIRST)
    return _tpe(setup, [(one.candidate, one.reason) for one in prior])


def plain_tpe(setup: Setup) -> Sampler:
    """Without a prior: candidates that fill the space, then TPE."""
    return _tpe(setup, [])


def screened_random(setup: Setup) -> Sampler:
    """Even draws."""
    return RandomSampler(setup.space, setup.seed)


def wrong_prior(setup: Setup) -> Sampler:
    """A prior with the wrong sign: of 60 even draws that would start, the three of which it expects the least."""
    scenario, rng = setup.scenario, random.Random(setup.seed)
    expecting = _expecting(scenario, setup.seed)

    def expected(candidate: Candidate) -> float | None:
        try:
            engine, memory = expecting.engine(candidate)
        except TrialFailed:
            return None
        return None if memory.refusal else capacity(engine, scenario.workload, scenario.promises)

    drawn = {candidate: expected(candidate) for candidate in (setup.space.sample(rng) for _ in range(60))}
    starting = [(value, candidate.key, candidate) for candidate, value in drawn.items() if value is not None]
    return _tpe(setup, [(candidate, "the wrong sign") for _, _, candidate in sorted(starting)[:_FIRST]])


METHODS: dict[str, Callable[[Setup], Sampler]] = {
    "prior + TPE": ours,
    "screened random": screened_random,
    "plain TPE": plain_tpe,
    "wrong prior + TPE": wrong_prior,
}


async def _search(scenario: Scenario, seed: int, method: str, starts: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{Path(folder) / 'b.db'}") as store:
        loop = await loop_on(
            scenario,
            scenario.target(Truth(seed)),
            store,
            lambda space, info, study: METHODS[method](Setup(scenario, store, space, info, study, seed)),
            starts=starts,
            pairs=0,
            seed=seed + 1,
        )
        await loop.search()
        best = loop.incumbent
        return {
            "candidate": dict(best.candidate) if best else None,
            "starts": loop.ledger.starts,
            "failed": sum(t.failure is not None and not t.screened for t in loop.trials),
            "screened": sum(t.screened for t in loop.trials),
            "trials": [
                [
                    dict(t.candidate),
                    t.reason,
                    t.verdict.value if t.verdict else None,
                    str(t.failure.cause) if t.failure else "",
                ]
                for t in loop.trials
                if not t.screened
            ],
        }


def grid_points(scenario: Scenario, space: Space) -> list[Candidate]:
    """At most 288 points over the four knobs that can matter, the others at their defaults."""
    axes = {
        "max_num_seqs": (16, 32, 64, 128, 256, 512),
        "max_num_batched_tokens": (512, 768, 1024, 2048, 4096, 8192, 16384, 32768),
        "gpu_memory_utilization": (0.88, 0.92, 0.96),
        "enable_prefix_caching": (True, False),
    }
    start = space.complete(scenario.baseline)
    points = {
        space.repair({**start, **dict(zip(axes, values, strict=True))}) for values in itertools.product(*axes.values())
    }
    return sorted(points, key=lambda candidate: candidate.key)


def best_of_grid(scenario: Scenario, seed: int, points: Sequence[Candidate]) -> dict[str, Any]:
    """The grid's five best by short levels, as [candidate, rate]; most points are left after a single level."""
    truth = Truth(seed, noise=False)
    short = Yardstick(scenario, truth, requests=300, pattern=11)
    expected = {point: _closed_form(scenario, truth, point) for point in points}
    ceiling = max(expected.values(), default=0.0)
    found: list[tuple[float, str, Candidate]] = []
    best = 0.0
    for point in sorted(points, key=lambda one: (-expected[one], one.key)):
        if expected[point] < _HOPELESS * ceiling or (best and not short.holds(point, _CLOSE * best)):
            continue
        rate = short.capacity(point, best or expected[point])
        found.append((rate, point.key, point))
        best = max(best, rate)
    five = sorted(found, reverse=True)[:5]
    return {"points": len(points), "five": [[dict(point), rate] for rate, _, point in five]}


def _closed_form(scenario: Scenario, truth: Truth, candidate: Candidate) -> float:
    model, gpu = MODELS[scenario.model], GPUS[scenario.gpu]
    try:
        settings = resolve(candidate, dict(scenario.fixed), model, gpu, scenario.gpu_count, DEFAULT_VERSION)
    except TrialFailed:
        return 0.0
    memory = plan(model, gpu, settings, truth.memory(DEFAULT_VERSION))
    if memory.refusal is not None:
        return 0.0
    cost = truth.cost(model, gpu, settings, 0)
    return capacity(Engine(settings, memory.kv_tokens, cost), scenario.workload, scenario.promises)


def regrets(
    scenario: Scenario,
    seed: int,
    starts: int,
    fresh: bool,
    points: int | None = None,
    methods: Sequence[str] = tuple(METHODS),
) -> dict[str, float]:
    """Regret by method, under one hidden truth; with at most `points` points of the grid (None: all)."""
    info = asyncio.run(scenario.target(Truth(seed)).inspect())
    grid = grid_points(scenario, scenario.space(info))[:points]
    key = f"{_ENGINES} {scenario} {seed}"
    top = remembered("regret", f"grid {key} {points}", lambda: best_of_grid(scenario, seed, grid), fresh)
    handed = {"none": scenario.baseline}
    for method in methods:
        kept = remembered(
            "regret",
            f"search {_SEARCHES} {key} {method} {starts}",
            lambda: asyncio.run(_search(scenario, seed, method, starts)),  # noqa: B023
            fresh,
        )
        handed[method] = Candidate.of(kept["candidate"]) if kept["candidate"] is not None else scenario.baseline
    exact = Yardstick(scenario, Truth(seed, noise=False), requests=1000 if points is None else 200)
    guess = top["five"][0][1] if top["five"] else 4.0

    def value(candidate: Candidate) -> float:
        kept = remembered(
            "regret",
            f"value {key} {exact.requests} {candidate.key}",
            lambda: {"rate": exact.capacity(candidate, guess)},
            fresh,
        )
        return float(kept["rate"])

    values = {method: value(candidate) for method, candidate in handed.items()}
    best = max([*values.values(), *(value(Candidate.of(point)) for point, _ in top["five"])])
    return {method: 1 - rate / best for method, rate in values.items()}


def _p90(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.9 * (len(values) - 1)))]


def table_of(found: dict[str, list[dict[str, float]]]) -> tuple[list[str], list[list[str]]]:
    """Median and p90 regret by scenario and method."""
    methods = [m for m in ("none", *METHODS) if all(m in one for per_seed in found.values() for one in per_seed)]
    header = ["scenario (median / p90 regret)", *("no search" if m == "none" else m for m in methods)]
    rows = [
        [f"{name} ({len(per_seed)} truths)", *(_cell([one[m] for one in per_seed]) for m in methods)]
        for name, per_seed in found.items()
        if per_seed
    ]
    everything = [one for per_seed in found.values() for one in per_seed]
    rows.append(["all", *(_cell([one[m] for one in everything]) for m in methods)])
    return header, rows


def _cell(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1%} / {_p90(values):.1%}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--scenario", type=int, choices=range(len(SCENARIOS)), help="only this one")
    parser.add_argument("--fresh", action="store_true", help="don't use what earlier runs have kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--quick", action="store_true", help="one truth, two methods, 2 starts, 6 grid points")
    options = parser.parse_args(arguments)
    chosen = SCENARIOS if options.scenario is None else (SCENARIOS[options.scenario],)
    if options.quick:
        chosen, options.seeds, options.starts = chosen[:1], 1, 2
    found: dict[str, list[dict[str, float]]] = {scenario.name: [] for scenario in chosen}
    for seed in range(options.seeds):
        for scenario in chosen:
            began = time.monotonic()
            points, methods = (6, tuple(METHODS)[:2]) if options.quick else (None, tuple(METHODS))
            one = regrets(scenario, seed, options.starts, options.fresh, points, methods)
            found[scenario.name].append(one)
            said = ", ".join(f"{method} {regret:.1%}" for method, regret in one.items())
            print(f"{scenario.name}, truth {seed}: {said} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
    header, rows = table_of(found)
    publish("search regret", f"Regret after {options.starts} starts", header, rows, write=options.write)


if __name__ == "__main__":
    main()
