"""Tests of SLOs: PASS and FAIL are meant to be wrong in at most 5 % of levels each, else the answer is UNCERTAIN.

`ttft p95 <= 500ms` says that at most 5 % of the requests exceed 500 ms, so the share of exceedances is tested against
5 %, by exact (Clopper-Pearson) one-sided bounds. Neighbouring requests meet the same queue and the same engine step,
and are alike: the sample counts as the effective number of independent observations, n / deff. The design effect deff
is estimated by batch means over time (at least 10 batches of whole requests, so that the gaps of one request stay
together), as far as independent requests would not show the same by chance, with the small-sample correction of Korn &
Graubard (1998); it is at least 1, and for ITL at least the mean concurrency, because one slow step delays all streams
that run, at once.

Exceedances of a bound are rare, and say little about how alike neighbours are until it is too late. So the requests in
the upper fifth of the sample's own latencies, as far as they are over 0.4 of the bound, are looked at too: if these
come in clumps (Geyer's initial sequence estimate, 1992), the exceedances will, and deff is at least that. Not so where
the bound is out of reach: nothing grows, and an exponential tail over the upper fifth leaves less than 1e-3 beyond it.
For TPOT 1e-2 will do: it is a mean over a whole answer, so its tail is thinner than that, and it is alike for a whole
batch, also at a third of its bound.

The 5 % hold for independent requests and for neighbours with a correlation of 0.8. They do not quite hold where clumps
are as long as the level: in an M/D/8 queue at the very rate where 5 % exceed, 13 % of levels of 400 requests pass (52 %
without the last correction), and 1 % of them where 10 % exceed. Of neighbours with a correlation of 0.99, 11 % do.

An SLO on a mean is tested by a t-interval on batch means.

An SLO that allows less than 1 % (`max`, an error rate of 0.1 %) would take thousands of requests to prove. It holds as
far as anyone can see while nothing at all exceeds it; what was proven is told by `SloTest.high`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuner.core.measurement import Answer, SloTest
from tuner.core.slo import Metric, Slo
from tuner.probe.confidence import above, below, lower_share, quantile_ranks, t_quantile, upper_share
from tuner.probe.observations import Observations
from tuner.probe.spending import ALPHA

_BATCHES = 10
_MOST_BATCHES = 20
# Below this many observations "nothing exceeded the bound" says too little to go on with.
_LEAST_SEEN = 20
#: SLOs that allow a smaller share than this are watched, not proven.
STRICTEST = 0.01
_UPPER = 0.8
_NEAR = 0.4
_GRAIN = 0.01
_OUT_OF_REACH, _OUT_OF_REACH_OF_MEANS = 1e-3, 1e-2
# Standard deviations by which a dispersion over batches must exceed that of independent requests to count.
_BY_CHANCE = 2.0
_GROWS = 1.5  # spreads, from the first fifth of a level to its last; steady growth makes 2.8


@dataclass(frozen=True)
class Sample:
    """A share of exceedances as an effective binomial sample."""

    exceeding: float
    count: float

    def with_undecided(self, share: float) -> Sample:
        """As if a further `share` of the sample (undecided requests) exceeded the bound."""
        extra = self.count * share
        return Sample(self.exceeding + extra, self.count + extra)


@dataclass(frozen=True)
class Stage:
    """How far a level is: what may be spent at this look, how much more could come, and how loaded the engine was.

    `growth` is the planned number of measured requests over those seen so far, at least 1.
    """

    pass_alpha: float
    fail_alpha: float
    growth: float = 1.0
    concurrency: float = 1.0


def answer_of(slo: Slo, seen: Observations, stage: Stage) -> SloTest:
    """Test one SLO at one look."""
    if seen.count == 0:
        return SloTest(str(slo), Answer.UNCERTAIN, None, 1.0)
    if slo.allowed_share is None:
        return _test_mean(slo, seen, stage)
    return _test_share(slo, slo.allowed_share, seen, stage)


def hopeless(slo: Slo, seen: Observations, stage: Stage) -> bool:
    """Whether the statistic will be over its bound at the end of the level, even if nothing further exceeds it."""
    share = slo.allowed_share
    if share is None or seen.count == 0:
        return False
    if share < STRICTEST:
        return bool(seen.exceeding.sum() > 0)
    return bool(seen.exceeding.sum() > share * seen.count * stage.growth)


def _test_share(slo: Slo, allowed: float, seen: Observations, stage: Stage) -> SloTest:
    exceeding = seen.exceeding.sum()
    corrected = _corrected(slo, seen, stage, stage.pass_alpha or ALPHA)
    doubtful = corrected.with_undecided(seen.undecided / seen.requests)
    answer = Answer.UNCERTAIN
    if above(allowed, corrected.exceeding, corrected.count, stage.fail_alpha):
        answer = Answer.FAIL
    elif allowed < STRICTEST:
        clean = exceeding == 0 and seen.undecided == 0 and seen.count >= _LEAST_SEEN
        answer = Answer.PASS if clean else Answer.UNCERTAIN
    elif stage.pass_alpha > 0 and below(allowed, doubtful.exceeding, doubtful.count, stage.pass_alpha):
        answer = Answer.PASS
    observed = _observed(slo, seen)
    return SloTest(
        str(slo),
        answer,
        observed,
        _violation(observed, slo.bound),
        int(exceeding),
        seen.count,
        lower_share(corrected.exceeding, corrected.count, ALPHA),
        upper_share(corrected.exceeding, corrected.count, ALPHA),
    )


def _test_mean(slo: Slo, seen: Observations, stage: Stage) -> SloTest:
    mean = float(seen.sums.sum() / seen.count)
    exceeding = int(seen.exceeding.sum())
    batches = _batches(seen.requests)
    if batches < _BATCHES:
        return SloTest(str(slo), Answer.UNCERTAIN, mean, _violation(mean, slo.bound), exceeding, seen.count)
    error = math.sqrt(_ratio_variance(seen.sums, seen.counts, batches))

    def margin(alpha: float) -> float:
        return t_quantile(1 - alpha, batches - 1) * error if alpha > 0 else math.inf

    answer = Answer.UNCERTAIN
    if mean - margin(stage.fail_alpha) > slo.bound:
        answer = Answer.FAIL
    elif mean + margin(stage.pass_alpha) <= slo.bound and seen.undecided == 0:
        answer = Answer.PASS
    low, high = mean - margin(ALPHA), mean + margin(ALPHA)
    return SloTest(str(slo), answer, mean, _violation(mean, slo.bound), exceeding, seen.count, low, high)


def interval_of(slo: Slo, seen: Observations, stage: Stage) -> tuple[float | None, float | None]:
    """The 95 % interval of the observed statistic, in its unit; None on a side that the sample is too small to bound.

    Of a percentile: two order statistics, as of a sample of as many independent observations as these are worth (their
    design effect is the test's). Of an error rate: exact binomial bounds on the same sample. Of a mean: Student's t on
    batch means. A maximum has none.
    """
    if seen.count == 0 or slo.statistic == "max":
        return None, None
    if slo.allowed_share is None:
        return _interval_of_mean(seen)
    worth = _corrected(slo, seen, stage, ALPHA / 2)
    if slo.metric is Metric.ERROR_RATE:
        low, high = (bound(worth.exceeding, worth.count, ALPHA / 2) for bound in (lower_share, upper_share))
        return low, high
    count = max(1, math.floor(worth.count))
    low_rank, high_rank = quantile_ranks(count, 1 - slo.allowed_share, ALPHA)
    each = seen.count / count
    ascending = np.sort(seen.values)
    low_place, high_place = math.floor((low_rank - 1) * each), math.ceil(high_rank * each) - 1
    return (
        float(ascending[low_place]) if low_rank > 0 else None,
        float(ascending[min(high_place, seen.count - 1)]) if high_rank <= count else None,
    )


def _interval_of_mean(seen: Observations) -> tuple[float | None, float | None]:
    batches = _batches(seen.requests)
    if batches < _BATCHES:
        return None, None
    mean = float(seen.sums.sum() / seen.count)
    margin = t_quantile(1 - ALPHA / 2, batches - 1) * math.sqrt(_ratio_variance(seen.sums, seen.counts, batches))
    return mean - margin, mean + margin


def _corrected(slo: Slo, seen: Observations, stage: Stage, alpha: float) -> Sample:
    """The exceedances as an effective sample: by batches in time, and by how the slow requests come in clumps."""
    beyond = _OUT_OF_REACH_OF_MEANS if slo.metric is Metric.TPOT else _OUT_OF_REACH
    clumps = 1.0 if slo.metric is Metric.ITL else clumping(seen.sums / seen.counts, slo.bound, beyond)
    return effective_sample(seen, max(_least_effect(slo, stage), clumps), alpha)


def effective_sample(seen: Observations, least_effect: float, alpha: float) -> Sample:
    """Exceedances and observations, divided by the design effect of batches in time."""
    count, exceeding = seen.counts.sum(), seen.exceeding.sum()
    share = exceeding / count
    batches = _batches(seen.requests)
    effect = least_effect
    if batches >= _BATCHES and 0 < share < 1:
        binomial = share * (1 - share) / count
        estimated = _ratio_variance(seen.exceeding, seen.counts, batches) / binomial
        if estimated > max(least_effect, 1 + _BY_CHANCE * math.sqrt(2 / (batches - 1))):
            # An effect estimated from few batches may be far too small by luck.
            normal, student = t_quantile(1 - alpha, 1e6), t_quantile(1 - alpha, batches - 1)
            effect = estimated * (student / normal) ** 2
    return Sample(float(exceeding / effect), float(count / effect))


def clumping(
    latencies: np.ndarray[tuple[int], np.dtype[np.float64]], bound: float, beyond: float = _OUT_OF_REACH
) -> float:
    """Design effect of "is in the upper fifth, and over 0.4 of the bound" over a series of latencies.

    It is 1 + 2 * (the autocorrelations while they are positive); differences below 1 % of the bound are no matter. And
    it is 1 where the bound is out of reach: where less than a share of `beyond` will exceed it.

    Sums of two successive autocorrelations are added up to the first that is within its own noise, 1 / sqrt(n).
    """
    n = len(latencies)
    if n == 0 or _out_of_reach(latencies, bound, beyond):
        return 1.0
    values = np.round(latencies / (_GRAIN * bound)) if bound > 0 else latencies
    high = (values > max(_NEAR / _GRAIN, np.quantile(values, _UPPER))).astype(float)
    high -= high.mean()
    variance = float((high**2).mean())
    if n < _LEAST_SEEN or variance == 0:
        return 1.0
    spectrum = np.fft.rfft(high, 2 * n)
    correlations = np.fft.irfft(np.abs(spectrum) ** 2)[:n] / n / variance
    pairs = correlations[: n - n % 2].reshape(-1, 2).sum(axis=1)
    noisy = np.flatnonzero(pairs <= 1 / math.sqrt(n))
    return max(1.0, float(2 * pairs[: noisy[0] if len(noisy) else None].sum() - 1))


def _out_of_reach(latencies: np.ndarray[tuple[int], np.dtype[np.float64]], bound: float, beyond: float) -> bool:
    """Whether less than a share of `beyond` lies over `bound`, by the exponential tail over the upper fifth.

    What grows is never out of reach: a queue that builds up looks harmless at first.
    """
    fifth = len(latencies) // 5
    threshold = float(np.quantile(latencies, _UPPER))
    excess = latencies[latencies > threshold] - threshold
    if len(latencies) < _LEAST_SEEN or not len(excess):
        return False
    # A series that wanders slowly shows less of its tail than of its spread.
    spread = float(latencies.std())
    scale = max(float(excess.mean()), spread)
    growth = max(0.0, float(latencies[-fifth:].mean() - latencies[:fifth].mean()))
    if growth > _GROWS * spread:
        return False
    return (bound - threshold - growth) / scale > math.log((1 - _UPPER) / beyond)


def _ratio_variance(
    sums: np.ndarray[tuple[int], np.dtype[np.float64]],
    counts: np.ndarray[tuple[int], np.dtype[np.float64]],
    batches: int,
) -> float:
    """Variance of sum(sums) / sum(counts) by linearisation over batches of successive requests (Cochran 1977, 6.4)."""
    edges = np.linspace(0, len(counts), batches + 1).round().astype(int)[:-1]
    batch_sums, batch_counts = np.add.reduceat(sums, edges), np.add.reduceat(counts, edges)
    ratio = sums.sum() / counts.sum()
    residuals = batch_sums - ratio * batch_counts
    return float(batches / (batches - 1) * (residuals**2).sum() / counts.sum() ** 2)


def _batches(requests: int) -> int:
    """Batches for so many requests: as few and long as allowed, 0 where there are too few requests."""
    return 0 if requests < 2 * _BATCHES else min(_MOST_BATCHES, max(_BATCHES, requests // 20))


def _least_effect(slo: Slo, stage: Stage) -> float:
    return max(1.0, stage.concurrency) if slo.metric is Metric.ITL else 1.0


def _observed(slo: Slo, seen: Observations) -> float:
    if slo.metric is Metric.ERROR_RATE:
        return float(seen.exceeding.sum() / seen.count)
    if slo.statistic == "max":
        return float(seen.values.max())
    return float(np.percentile(seen.values, int(slo.statistic[1:])))


def _violation(observed: float, bound: float) -> float:
    if bound > 0:
        return (observed - bound) / bound
    return 1.0 if observed > 0 else 0.0
