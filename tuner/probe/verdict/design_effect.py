"""How many independent observations a level's are worth: its sample divided by a design effect.

Neighbouring requests meet the same queue and the same engine steps, and are alike. Two estimates, of which the larger
one counts, because each is blind where the other sees:

* how exceedances vary between batches of successive requests (batch means over time, at least 10 batches of whole
  requests, so that the gaps of one request stay together), as far as independent requests would not show the same by
  chance, with the small-sample correction of Korn & Graubard (1998). Exceedances of a bound are rare, and say little
  before there are many.
* how like the one before each latency is, whether or not it exceeds anything: a first-order autoregressive series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.probe.verdict.confidence import normal_quantile, t_quantile
from tuner.probe.verdict.observations import Observations

#: Fewer batches than that say nothing of how they vary.
BATCHES = 10
_MOST_BATCHES = 20
# Standard deviations by which a dispersion over batches must exceed that of independent requests to count.
_BY_CHANCE = 2.0
_BY_CHANCE_ALIKE = 1.64  # of 1 / sqrt(n), the deviation of a correlation of independent values
_LEAST_SEEN = 5


@dataclass(frozen=True)
class Sample:
    """A share of exceedances as an effective binomial sample."""

    exceeding: float
    count: float

    def with_undecided(self, share: float) -> Sample:
        """As if a further `share` of the sample (undecided requests) exceeded the bound."""
        extra = self.count * share
        return Sample(self.exceeding + extra, self.count + extra)


def effective_sample(seen: Observations, least_effect: float, alpha: float) -> Sample:
    """Exceedances and observations, divided by the design effect of batches in time, or by `least_effect`."""
    count, exceeding = seen.counts.sum(), seen.exceeding.sum()
    share = exceeding / count
    batches = batches_of(seen.requests)
    effect = least_effect
    if batches and 0 < share < 1:
        binomial = share * (1 - share) / count
        estimated = ratio_variance(seen.exceeding, seen.counts, batches) / binomial
        if estimated > max(least_effect, 1 + _BY_CHANCE * math.sqrt(2 / (batches - 1))):
            # An effect estimated from few batches may be far too small by luck.
            normal, student = normal_quantile(1 - alpha), t_quantile(1 - alpha, batches - 1)
            effect = estimated * (student / normal) ** 2
    return Sample(float(exceeding / effect), float(count / effect))


def effect_of_neighbours(values: NDArray[np.float64], grain: float) -> float:
    """Design effect of a mean over a series in which each value is like the one before, from 1 to their number.

    (1 + r) / (1 - r) of a first-order autoregressive series, r being the correlation of neighbours; 1 where independent
    values show as much by chance. A short series shows too small an r, so it is corrected: (n r + 1) / (n - 3) (Kendall
    1954). Differences below `grain` are no matter.
    """
    n = len(values)
    series = np.round(values / grain) if grain > 0 else values
    deviations = series - series.mean() if n else series
    square = float((deviations**2).sum())
    if n < _LEAST_SEEN or square == 0:
        return 1.0
    seen = float((deviations[1:] * deviations[:-1]).sum()) / square
    if seen <= _BY_CHANCE_ALIKE / math.sqrt(n):
        return 1.0
    r = (n * seen + 1) / (n - 3)
    most = (n - 1) / (n + 1)
    return max(1.0, (1 + r) / (1 - r)) if r < most else float(n)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The correlation of two series, 0 where it is negative or one of them is constant."""
    if len(a) < _LEAST_SEEN or a.std() == 0 or b.std() == 0:
        return 0.0
    return max(0.0, float(np.corrcoef(a, b)[0, 1]))


def batches_of(requests: int) -> int:
    """Batches for so many requests: as few and long as allowed, 0 where there are too few requests."""
    return 0 if requests < 2 * BATCHES else min(_MOST_BATCHES, max(BATCHES, requests // 20))


def ratio_variance(sums: NDArray[np.float64], counts: NDArray[np.float64], batches: int) -> float:
    """Variance of sum(sums) / sum(counts) by linearisation over batches of successive requests (Cochran 1977, 6.4)."""
    edges = np.linspace(0, len(counts), batches + 1).round().astype(int)[:-1]
    batch_sums, batch_counts = np.add.reduceat(sums, edges), np.add.reduceat(counts, edges)
    ratio = sums.sum() / counts.sum()
    residuals = batch_sums - ratio * batch_counts
    return float(batches / (batches - 1) * (residuals**2).sum() / counts.sum() ** 2)
