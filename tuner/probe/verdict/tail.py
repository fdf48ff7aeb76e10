"""How much may lie beyond a bound that little or nothing has exceeded yet."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tuner.probe.verdict.confidence import normal_quantile, t_quantile, upper_share

_UPPER = 0.2


def exponential_beyond(values: NDArray[np.float64], bound: float, worth: float, alpha: float) -> float:
    """An upper bound, at a level of `alpha`, on the share over `bound` in the long run, by an exponential tail.

    Waits in queues have such tails (Kingman 1970), or thinner ones. The tail begins at the upper fifth's own quantile
    u: share(u) * exp(-(bound - u) / scale), both of them at their upper limits for `worth` independent observations:
    the share by Clopper & Pearson, the scale (a mean of exponentials, or the spread of all where that is more: a series
    that wanders slowly shows less of its tail) by its chi-squared limit.
    """
    threshold = float(np.quantile(values, 1 - _UPPER))
    if threshold >= bound or alpha <= 0:
        return 1.0
    excess = values[values > threshold] - threshold
    scale = max(float(excess.mean()) if len(excess) else 0.0, float(values.std()))
    tail = _UPPER * worth
    if scale == 0:
        return 0.0
    scale *= _most(2 * tail, alpha)
    return upper_share(tail, worth, alpha) * math.exp(-(bound - threshold) / scale)


def normal_beyond(values: NDArray[np.float64], bound: float, worth: float, alpha: float) -> float:
    """The same by a normal distribution: its mean and its deviation at their upper limits (Student's, chi-squared).

    For what is a mean of many gaps, and for waits behind no more than a fixed number of clients.
    """
    if worth < 2 or alpha <= 0:
        return 1.0
    spread = float(values.std())
    mean = float(values.mean()) + t_quantile(1 - alpha, worth - 1) * spread / math.sqrt(worth)
    if spread == 0:
        return float(mean > bound)
    return 0.5 * math.erfc((bound - mean) / (spread * math.sqrt(2 * _most(worth - 1, alpha))))


def _most(freedom: float, alpha: float) -> float:
    """By what factor a mean of squares may be larger than one of so many degrees of freedom shows, at `alpha`.

    freedom / the alpha-quantile of chi-squared (Wilson & Hilferty 1931).
    """
    part = 2 / (9 * freedom)
    root = 1 - part - normal_quantile(1 - alpha) * math.sqrt(part)
    return root**-3 if root > 0 else math.inf
