"""Exact confidence bounds, from the regularized incomplete beta function alone.

Sources: Clopper & Pearson 1934 (exact binomial bounds); Abramowitz & Stegun 26.5 (the binomial and Student's t
distribution as incomplete beta functions); the continued fraction is 26.5.8, evaluated by Lentz's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

_STEPS = 300
_TINY = 1e-300
_BISECTIONS = 40
_MANY = 1e6  # degrees of freedom at which Student's t is normal
_FAR = 8.0  # standard deviations from a binomial's mean, beyond which nothing lies


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), for a, b > 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    # The fraction converges fast below the mean; above it the mirror image does.
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_cdf(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) * _continued_fraction(x, a, b) / a


def _continued_fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for coefficient in (even, odd):
            d = 1.0 / _away_from_zero(1 + coefficient * d)
            c = _away_from_zero(1 + coefficient / c)
            change = c * d
            value *= change
        if abs(change - 1) < 1e-13:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def upper_share(exceeding: float, count: float, alpha: float) -> float:
    """The one-sided upper (1 - alpha) Clopper-Pearson bound on a share, after `exceeding` of `count`.

    Both may be fractional: an effective sample size (Korn & Graubard 1998).
    """
    if count <= 0 or exceeding >= count:
        return 1.0
    return _solve(lambda p: beta_cdf(p, exceeding + 1, count - exceeding), 1 - alpha)


def lower_share(exceeding: float, count: float, alpha: float) -> float:
    """The one-sided lower (1 - alpha) Clopper-Pearson bound on a share."""
    if count <= 0 or exceeding <= 0:
        return 0.0
    return _solve(lambda p: beta_cdf(p, exceeding, count - exceeding + 1), alpha)


@lru_cache(maxsize=256)
def t_quantile(p: float, df: float) -> float:
    """The p-quantile of Student's t distribution with `df` degrees of freedom, for 0.5 <= p < 1."""
    # P(|T| > t) = I_x(df/2, 1/2) with x = df / (df + t^2)
    x = _solve(lambda x: beta_cdf(x, df / 2, 0.5), 2 * (1 - p))
    return math.sqrt(df * (1 - x) / x) if x > 0 else math.inf


def normal_quantile(p: float) -> float:
    """The p-quantile of the standard normal distribution, for 0.5 <= p < 1."""
    return t_quantile(p, _MANY)


def below(share: float, exceeding: float, count: float, alpha: float) -> bool:
    """Whether `upper_share` is at most `share`: that the true share is below it is proven at level `alpha`."""
    return exceeding < count and beta_cdf(share, exceeding + 1, count - exceeding) >= 1 - alpha


def above(share: float, exceeding: float, count: float, alpha: float) -> bool:
    """Whether `lower_share` is over `share`: that the true share is above it is proven at level `alpha`."""
    return exceeding > 0 and beta_cdf(share, exceeding, count - exceeding + 1) < alpha


def least_count(share: float, alpha: float) -> int:
    """Observations without any exceedance that prove a share below `share` at level `alpha` (59 for 5 % at 5 %)."""
    return math.ceil(math.log(alpha) / math.log1p(-share))


def quantile_ranks(count: int, share: float, alpha: float) -> tuple[int, int]:
    """The ranks, from 1, of the two order statistics of `count` values between which their `share`-quantile lies.

    The true quantile is below the first or above the second with a probability of at most `alpha` / 2 each, whatever
    the distribution (David & Nagaraja 2003, 7.1). 0 and `count` + 1 stand for "not bounded on that side".
    """
    mean, spread = count * share, _FAR * (1 + math.sqrt(count * share * (1 - share)))
    first, last = max(0, math.floor(mean - spread)), min(count, math.ceil(mean + spread))
    steps = np.arange(first + 1, last + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log((count - steps + 1) / steps * share / (1 - share)))))
    cumulative = np.cumsum(np.exp(logs - logs.max()))
    cumulative /= cumulative[-1]
    low = first + int(np.searchsorted(cumulative, alpha / 2, side="right"))
    return low, first + int(np.searchsorted(cumulative, 1 - alpha / 2)) + 1


def _solve(rising: Callable[[float], float], value: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if rising(middle) < value:
            low = middle
        else:
            high = middle
    return (low + high) / 2
