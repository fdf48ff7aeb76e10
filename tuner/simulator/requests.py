"""Requests to simulate where nobody planned any: a workload's lengths and a load's arrivals, by seed."""

from __future__ import annotations

import random

from tuner.core.request import PlannedRequest, Span
from tuner.core.workload import Arrival, Lengths, Load, Workload


def plan_requests(workload: Workload, load: Load, count: int, seed: int) -> tuple[PlannedRequest, ...]:
    """`count` requests with the workload's token lengths, its arrivals in an open loop, groups drawn evenly.

    No text: these are for the simulator. A real probe draws its own. Of a trace only the mean lengths and their spread
    are known here; its arrivals are taken as Poisson.
    """
    generator = random.Random(seed)
    requests = []
    arrival = 0.0
    for index in range(count):
        if load.rate is not None:
            arrival += _gap(workload, generator) / load.rate
        prompt, output = _lengths(workload, generator)
        prefix = _prefix(workload, generator)
        requests.append(
            PlannedRequest(
                index=index,
                prompt_tokens=prompt + sum(span.tokens for span in prefix),
                output_tokens=output,
                arrival_s=arrival if load.rate is not None else None,
                prefix=prefix,
            )
        )
    return tuple(requests)


def _gap(workload: Workload, generator: random.Random) -> float:
    match workload.arrivals:
        case Arrival.CONSTANT:
            return 1.0
        case Arrival.GAMMA:
            return generator.gammavariate(workload.burstiness, 1 / workload.burstiness)
        case _:
            return generator.expovariate(1.0)


def _lengths(workload: Workload, generator: random.Random) -> tuple[int, int]:
    if workload.pairs:
        (pair,) = generator.choices(workload.pairs, [pair.weight for pair in workload.pairs])
        return pair.prompt, pair.output
    return _draw(workload.prompt, generator), _draw(workload.output, generator)


def _prefix(workload: Workload, generator: random.Random) -> tuple[Span, ...]:
    group = generator.randrange(max(1, workload.prefix_groups))
    if not workload.shared_prefix or (workload.prefix_share < 1 and generator.random() >= workload.prefix_share):
        return ()
    return (Span((group,), workload.shared_prefix),)


def _draw(lengths: Lengths, generator: random.Random) -> int:
    return lengths.at(generator.normalvariate() if lengths.cv else 0.0)
