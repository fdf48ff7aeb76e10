"""How much CPU a simulated level and a simulated trial take: `python -m tests.benchmarks.simulator_speed`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tuner.core.knob import Candidate, Value
from tuner.core.request import LevelPlan, RequestRecord
from tuner.core.workload import Lengths, Load, Workload
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.requests import plan_requests
from tuner.targets.simulated import SimulatedTarget

REQUESTS = 400
WORKLOAD = Workload(Lengths(512), Lengths(128))
CLOSED = Load(concurrency=64)
TRIAL = tuple(Load(rate=rate) for rate in (8.0, 10.0, 12.5, 15.6, 19.5, 24.4, 30.5, 27.0))
CANDIDATES: Mapping[str, dict[str, Value]] = {
    "defaults": {},
    "64 sequences": {"max_num_seqs": 64},
    "n-gram drafts": {"max_num_seqs": 64, "speculative_method": "ngram", "num_speculative_tokens": 4},
    "short of KV cache": {"num_gpu_blocks_override": 1200},
}


def _never(_: Sequence[RequestRecord]) -> bool:
    return False


async def _cpu_s(target: SimulatedTarget, values: dict[str, Value], loads: Sequence[Load]) -> tuple[float, float]:
    """CPU seconds of one start and its levels, and the virtual seconds they stand for."""
    planned = [(load, plan_requests(WORKLOAD, load, REQUESTS, seed=1)) for load in loads]
    began, since = time.process_time(), target.now()
    running = await target.apply(Candidate.of(values), 900, lambda _: None)
    assert running.driver is not None
    for load, requests in planned:
        await running.driver.level(LevelPlan(load, requests, (), 120, 3600), _never)
    return time.process_time() - began, target.now() - since


async def main() -> None:
    """Print one row per candidate."""
    target = SimulatedTarget(MODELS["Llama-3.1-8B"], GPUS["H100"], fixed={"max_model_len": 4096}, seed=1)
    await target.acquire("benchmark")
    table = Table(title=f"{REQUESTS} requests a level, {WORKLOAD.prompt.mean} + {WORKLOAD.output.mean} tokens")
    for column in ("candidate", "level, 64 clients: CPU s", "trial of 8 levels: CPU s", "virtual s"):
        table.add_column(column, justify="right")
    for name, values in CANDIDATES.items():
        level = min([await _cpu_s(target, values, (CLOSED,)) for _ in range(3)])
        trial = min([await _cpu_s(target, values, TRIAL) for _ in range(3)])
        table.add_row(name, f"{level[0]:.3f}", f"{trial[0]:.3f}", f"{trial[1]:.0f}")
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
