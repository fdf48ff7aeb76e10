"""Requests to simulate where nobody planned any: a workload's lengths and a load's arrivals, by seed."""

from __future__ import annotations

import random

from tuner.core.request import PlannedRequest
from tuner.core.workload import Lengths, Load, Workload


def plan_requests(workload: Workload, load: Load, count: int, seed: int) -> tuple[PlannedRequest, ...]:
    """`count` requests with the workload's token lengths, Poisson arrivals in an open loop, groups drawn evenly.

    No text: these are for the simulator. A real probe draws its own.
    """
    generator = random.Random(seed)
    requests = []
    arrival = 0.0
    for index in range(count):
        if load.rate is not None:
            arrival += generator.expovariate(load.rate)
        requests.append(
            PlannedRequest(
                index=index,
                prompt_tokens=workload.shared_prefix + _draw(workload.prompt, generator),
                output_tokens=_draw(workload.output, generator),
                arrival_s=arrival if load.rate is not None else None,
                prefix_group=generator.randrange(max(1, workload.prefix_groups)),
                prefix_tokens=workload.shared_prefix,
            )
        )
    return tuple(requests)


def _draw(lengths: Lengths, generator: random.Random) -> int:
    return lengths.at(generator.normalvariate() if lengths.cv else 0.0)
