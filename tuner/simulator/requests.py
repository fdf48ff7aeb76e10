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
    if workload.turns > 1:
        return _conversations(workload, load, count, generator)
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


def _conversations(workload: Workload, load: Load, count: int, generator: random.Random) -> tuple[PlannedRequest, ...]:
    """Turns of conversations in rotation, of no more than can be over twice: few requests should meet known text."""
    places = min(workload.conversations(load), max(1, count // (2 * workload.turns)))
    said: list[list[Span]] = [[] for _ in range(places)]  # of each open conversation
    turn = [generator.randrange(workload.turns) for _ in range(places)]
    requests: list[PlannedRequest] = []
    arrival = 0.0
    for index in range(count):
        place, new = index % places, index < places
        if load.rate is not None:
            arrival += _gap(workload, generator) / load.rate
        if turn[place] == workload.turns:
            turn[place], said[place], new = 0, [], True
        if new:
            said[place] = list(_prefix(workload, generator))
            for former in range(turn[place]):
                message, answer = _lengths(workload, generator)
                said[place] += [Span((index, former, 1), message), Span((index, former, 2), answer)]
        message, answer = _lengths(workload, generator)
        said[place].append(Span((index, turn[place], 1), message))
        requests.append(
            PlannedRequest(
                index=index,
                prompt_tokens=sum(span.tokens for span in said[place]),
                output_tokens=answer,
                arrival_s=arrival if load.rate is not None else None,
                prefix=tuple(said[place]),
                after=None if new else index - places,
                think_s=0.0 if new or load.rate is None else workload.think_s,
            )
        )
        said[place].append(Span((index, turn[place], 2), answer))
        turn[place] += 1
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
