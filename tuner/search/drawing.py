"""Drawing candidates that have not been suggested yet."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from tuner.core.knob import Candidate, Value
from tuner.search.space import Space

#: Spaces up to this size are listed to see whether anything is left; larger ones are never searched to the end.
LISTABLE = 20_000
_DRAWS = 200


def exhausted(space: Space, seen: Collection[str]) -> bool:
    """Whether every candidate of the space is among the keys `seen`; never so in spaces too large to list."""
    return space.size <= LISTABLE and first_unseen(space, seen) is None


def first_unseen(space: Space, seen: Collection[str]) -> Candidate | None:
    """The first candidate in the order of the space's list that is not `seen`; None in spaces too large to list."""
    if space.size > LISTABLE:
        return None
    return next((candidate for candidate in space.candidates() if candidate.key not in seen), None)


def evenly(space: Space, rng: random.Random, seen: Collection[str]) -> Candidate | None:
    """A candidate drawn evenly over the values worth trying; None where nothing unseen was found."""
    for _ in range(_DRAWS):
        candidate = space.sample(rng)
        if candidate.key not in seen:
            return candidate
    return first_unseen(space, seen)


def apart(
    space: Space, rng: random.Random, seen: Collection[str], tried: Sequence[Mapping[str, Value]], draws: int = 16
) -> Candidate | None:
    """Of some even draws, the one farthest from everything `tried`: start-up trials that fill the space."""
    best: Candidate | None = None
    widest = -1.0
    for _ in range(draws):
        candidate = space.sample(rng)
        if candidate.key in seen:
            continue
        gap = min((space.distance(candidate, other) for other in tried), default=0.0)
        if gap > widest:
            best, widest = candidate, gap
    return best or evenly(space, rng, seen)


def nearby(space: Space, rng: random.Random, seen: Collection[str], around: Mapping[str, Value]) -> Candidate | None:
    """An unseen candidate one or two steps from `around`; None where all of them are seen."""
    ring = space.neighbours(around)
    for _ in range(2):
        fresh = [candidate for candidate in ring if candidate.key not in seen]
        if fresh:
            return rng.choice(fresh)
        ring = [further for near in ring for further in space.neighbours(near)]
    return None
