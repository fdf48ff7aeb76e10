"""Random numbers by name: what is drawn here never shifts what is drawn there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Streams that must not be mixed.
LENGTHS, ARRIVALS, TEXT, PREFIX, ORDER, SHARE, WINDOW, BLOCK, TURN = range(9)


@dataclass(frozen=True)
class Dice:
    """The random numbers of one level: a pattern that levels share, and what is fresh in each."""

    seed: int
    pattern_seed: int
    level: int

    def pattern(self, stream: int, *name: int) -> np.random.Generator:
        """Numbers that are the same at every level of all measurements with this pattern."""
        return np.random.default_rng([_positive(self.pattern_seed), stream, *name])

    def fresh(self, stream: int) -> np.random.Generator:
        """Numbers of this level alone."""
        return np.random.default_rng([_positive(self.seed), self.level, stream])

    def known(self, *name: int) -> np.random.Generator:
        """Numbers that go by their name alone, in all of a start."""
        return np.random.default_rng([_positive(self.seed), *name])


def _positive(seed: int) -> int:
    # SeedSequence takes whole numbers from 0 only; distinct seeds stay distinct.
    return 2 * seed if seed >= 0 else -2 * seed - 1
