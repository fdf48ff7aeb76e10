"""How much better a finalist is than the baseline, and when that is certain: the rule of the confirmation.

Four starts in a row (ABBA or BAAB: neither side profits from a drift) make a block and meet the same arrivals and
lengths, which are drawn anew for each block; a capacity read off one pattern of some hundred arrivals carries 5 to 20 %
of luck, and most of it is common to both sides. The gain is estimated within blocks. After each block, and after the
last pair, the data is looked at:

* better: the gain is over the smallest one that matters, and beyond the boundary of O'Brien and Fleming for so many
  looks at a one-sided 2.5 % (so its 95 % interval excludes zero);
* no change, early: the smallest gain that matters lies above the one-sided 84 % bound, and twice that gain outside the
  two-sided 95 % interval (few pairs say little: their interval is wide);
* no change, at the end.

What it costs, by simulation (1500 studies a row; the noise is that of one start within a block): without a gain, at
most 3 % are called better at any noise and 4 pairs take 6.8 starts in the mean at 3.5 %; a gain of 10 % is found by 4
pairs in 85 % of studies at a noise of 3.5 % (3 pairs: 59 %, 5: 92 %), by 6 pairs in 81 % at 5 %. The early "no change"
loses at most 1.5 % of such studies (4, 6, 8 pairs; noise 1 to 10 %), and ends those without a gain after 3.4 of 4, 3.7
of 6 and 3.8 of 8 pairs at 3.5 %. docs/results.md has the same measured on whole simulated engines.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuner.probe.verdict.confidence import t_quantile

# O'Brien-Fleming, one-sided 2.5 %, by the number of looks: better at a look with share t of the pairs when
# z > constant / sqrt(t) (Jennison and Turnbull, Group Sequential Methods, table 2.3). More looks change it little.
_OBRIEN_FLEMING = (1.960, 1.977, 2.004, 2.024, 2.040, 2.053, 2.063, 2.072, 2.080, 2.087)
_HOPELESS = 0.84  # the smallest gain that matters above this one-sided bound: go no further,
_EXCLUDED = 2.0  # if so many times that gain are outside the interval that is told
#: What makes a value one whose ratios mean something, see Objective.merit.
Merit = Callable[[float], float]
#: Starts in a block.
BLOCK = 4


@dataclass(frozen=True)
class Comparison:
    """Finalist against baseline: relative gain in merit with its two-sided 95 % interval (shares: 0.1 is +10 %)."""

    gain: float
    low: float
    high: float
    baseline_values: tuple[float, ...]
    finalist_values: tuple[float, ...]


def order(pairs: int, seed: int) -> str:
    """The order of starts, one letter each: A the baseline, B the finalist; ABBA or BAAB at random."""
    rng = random.Random(seed)
    blocks = [rng.choice(("ABBA", "BAAB")) for _ in range(pairs // 2)]
    return "".join(blocks) + (rng.choice(("AB", "BA")) if pairs % 2 else "")


def looks(pairs: int) -> tuple[int, ...]:
    """The pairs after which the data is looked at: after each block of two pairs, and after the last."""
    return tuple(sorted({*range(2, pairs + 1, 2), pairs}))


@dataclass(frozen=True)
class Block:
    """Values of the starts that met one pattern of arrivals."""

    baseline: tuple[float, ...]
    finalist: tuple[float, ...]


@dataclass(frozen=True)
class Estimate:
    """The gain on the logarithmic scale, its standard error, and the degrees of freedom of that."""

    gain: float
    error: float
    freedom: int

    def bound(self, p: float) -> float:
        """The one-sided upper bound at confidence `p`; the lower one for the same distance below."""
        return self.gain + t_quantile(p, self.freedom) * self.error


def estimate(blocks: Sequence[Block], merit: Merit = float) -> Estimate | None:
    """The gain within blocks, by least squares for log merit = block + side (noise between starts is multiplicative).

    The residuals hold the noise between starts and how much the gain differs between blocks. Blocks with one side only
    say nothing (a baseline start that broke its SLOs has no value). None where nothing is left to see the noise by.
    """
    sides = [([math.log(merit(x)) for x in b.baseline], [math.log(merit(x)) for x in b.finalist]) for b in blocks]
    both = [(a, b) for a, b in sides if a and b]
    freedom = sum(len(a) + len(b) - 1 for a, b in both) - 1
    if freedom < 1:
        return None
    weights = [len(a) * len(b) / (len(a) + len(b)) for a, b in both]
    gains = [statistics.fmean(b) - statistics.fmean(a) for a, b in both]
    gain = math.fsum(w * g for w, g in zip(weights, gains, strict=True)) / sum(weights)
    squares = math.fsum(w * (g - gain) ** 2 for w, g in zip(weights, gains, strict=True))
    squares += math.fsum((x - statistics.fmean(side)) ** 2 for pair in both for side in pair for x in side)
    return Estimate(gain, math.sqrt(squares / freedom / sum(weights)), freedom)


def compare_blocks(blocks: Sequence[Block], merit: Merit = float) -> Comparison | None:
    """The relative gain with its 95 % t-interval; None where there are too few values."""
    found = estimate(blocks, merit)
    if found is None:
        return None
    half = found.bound(0.975) - found.gain
    return Comparison(
        gain=math.expm1(found.gain),
        low=math.expm1(found.gain - half),
        high=math.expm1(found.gain + half),
        baseline_values=tuple(value for block in blocks for value in block.baseline),
        finalist_values=tuple(value for block in blocks for value in block.finalist),
    )


def clearly_better(found: Estimate, done: int, pairs: int, smallest_gain: float) -> bool:
    """Whether the gain matters and is beyond the boundary of the look after `done` of `pairs` pairs."""
    count = len(looks(pairs))
    constant = _OBRIEN_FLEMING[min(count, len(_OBRIEN_FLEMING)) - 1]
    p = statistics.NormalDist().cdf(constant / math.sqrt(done / pairs))
    needed = t_quantile(p, found.freedom) * found.error
    return found.gain > max(math.log1p(smallest_gain), needed)


def hopeless(found: Estimate, smallest_gain: float) -> bool:
    """Whether a gain that matters is so unlikely that further starts are not worth their price."""
    unlikely = found.bound(_HOPELESS) < math.log1p(smallest_gain)
    return unlikely and found.bound(0.975) < math.log1p(_EXCLUDED * smallest_gain)
