"""Tests of SLOs: PASS and FAIL are meant to be wrong in at most 5 % of levels each, else the answer is UNCERTAIN.

`ttft p95 <= 500ms` says that at most 5 % of the requests exceed 500 ms, so the share of exceedances is tested against
5 %, by exact (Clopper-Pearson) one-sided bounds, the sample counting as the effective number of independent
observations (`design_effect`). For ITL, gaps of streams that run together count as one, because one slow step delays
them all at once. To pass, requests count as being as alike as the latencies of neighbours are, or their waits in the
queue; not so where the bound is out of reach: where the latencies' tail (`tail`) leaves but a part of what is allowed
beyond it. The figures here were found, and are checked, by `tests.benchmarks.level_verdicts`: queues at the very rate
at which 5 % exceed the bound, seen for a minute.

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
from tuner.probe.verdict.confidence import above, below, lower_share, quantile_ranks, t_quantile, upper_share
from tuner.probe.verdict.design_effect import (
    BATCHES,
    Sample,
    batches_of,
    correlation,
    effect_of_neighbours,
    effective_sample,
    ratio_variance,
)
from tuner.probe.verdict.observations import Observations
from tuner.probe.verdict.spending import ALPHA
from tuner.probe.verdict.tail import exponential_beyond, normal_beyond

# Below this many observations "nothing exceeded the bound" says too little to go on with.
_LEAST_SEEN = 20
#: SLOs that allow a smaller share than this are watched, not proven.
STRICTEST = 0.01
# Latencies that differ by less than this share of their bound do not matter.
_GRAIN = 0.01
# Of whole requests; the gaps between tokens are of two kinds, with and without a prefill beside them.
_TAILED = (Metric.TTFT, Metric.TPOT, Metric.E2E)
# How much of what is allowed may lie beyond a bound that is out of reach. The more requests a level has, the more of
# them met one queue, and the more the tail of what it happened to see belies what it did not.
_OUT_OF_REACH, _FEW = 0.25, 75


@dataclass(frozen=True)
class Stage:
    """What may be spent at this look, and how many requests the engine ran at once, on average.

    `closed`: clients wait for their answers, so no more can ever wait than there are clients.
    """

    pass_alpha: float
    fail_alpha: float
    concurrency: float = 1.0
    closed: bool = False


def answer_of(slo: Slo, seen: Observations, stage: Stage) -> SloTest:
    """Test one SLO at one look."""
    if seen.count == 0:
        return SloTest(str(slo), Answer.UNCERTAIN, None, 1.0)
    if slo.allowed_share is None:
        return _test_mean(slo, seen, stage)
    return _test_share(slo, slo.allowed_share, seen, stage)


def hopeless(slo: Slo, seen: Observations) -> bool:
    """Whether the SLO can't pass any more: it is one that can't be proven, and something has exceeded it."""
    return slo.allowed_share is not None and slo.allowed_share < STRICTEST and bool(seen.exceeding.any())


def _test_share(slo: Slo, allowed: float, seen: Observations, stage: Stage) -> SloTest:
    exceeding = seen.exceeding.sum()
    for_fail, for_pass = _against(slo, seen, stage), _in_favour(slo, allowed, seen, stage)
    doubtful = for_pass.with_undecided(seen.undecided / seen.requests)
    answer = Answer.UNCERTAIN
    # The gaps of a few requests are many, and were all made of the same few seconds.
    many = slo.metric is not Metric.ITL or batches_of(seen.requests) > 0
    if allowed == 0 and exceeding:
        answer = Answer.FAIL  # none may, and one did
    elif many and above(allowed, for_fail.exceeding, for_fail.count, stage.fail_alpha):
        answer = Answer.FAIL
    elif allowed < STRICTEST:
        clean = exceeding == 0 and seen.undecided == 0 and seen.count >= _LEAST_SEEN and stage.pass_alpha > 0
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
        lower_share(for_fail.exceeding, for_fail.count, ALPHA),
        upper_share(for_pass.exceeding, for_pass.count, ALPHA),
    )


def _test_mean(slo: Slo, seen: Observations, stage: Stage) -> SloTest:
    mean = float(seen.sums.sum() / seen.count)
    exceeding = int(seen.exceeding.sum())
    batches = batches_of(seen.requests)
    if not batches:
        return SloTest(str(slo), Answer.UNCERTAIN, mean, _violation(mean, slo.bound), exceeding, seen.count)
    error = math.sqrt(ratio_variance(seen.sums, seen.counts, batches))

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
    worth = effective_sample(seen, _alike(slo, seen, stage), ALPHA / 2)
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
    batches = batches_of(seen.requests)
    if not batches:
        return None, None
    mean = float(seen.sums.sum() / seen.count)
    margin = t_quantile(1 - ALPHA / 2, batches - 1) * math.sqrt(ratio_variance(seen.sums, seen.counts, batches))
    return mean - margin, mean + margin


def _against(slo: Slo, seen: Observations, stage: Stage) -> Sample:
    """The sample by which an SLO can fail: where much exceeds the bound, its own batches show how alike it is."""
    return effective_sample(seen, _at_once(slo, stage), stage.fail_alpha or ALPHA)


def _in_favour(slo: Slo, allowed: float, seen: Observations, stage: Stage) -> Sample:
    """The sample by which it can pass: little that exceeds the bound says little of how alike requests are."""
    alpha = stage.pass_alpha or ALPHA
    alike = _alike(slo, seen, stage)
    if slo.metric in _TAILED:
        tail = normal_beyond if stage.closed or slo.metric is Metric.TPOT else exponential_beyond
        worth = max(min(BATCHES, seen.requests), seen.requests / alike)
        beyond = tail(seen.means, slo.bound, worth, alpha)
        if beyond <= allowed * min(1.0, max(_OUT_OF_REACH, _FEW / seen.requests)):
            alike = 1.0
    return effective_sample(seen, alike, alpha)


def _alike(slo: Slo, seen: Observations, stage: Stage) -> float:
    """The least design effect, whatever exceeds the bound.

    Answers of different lengths hide how alike the waits of requests are that met the same queue; so the waits' own
    effect counts as far as the latency goes with them.
    """
    if slo.metric is Metric.ITL:
        return _at_once(slo, stage)
    latencies, grain = seen.means, _GRAIN * slo.bound
    shared = correlation(seen.waits, latencies) * (effect_of_neighbours(seen.waits, grain) - 1)
    return max(effect_of_neighbours(latencies, grain), 1 + shared)


def _at_once(slo: Slo, stage: Stage) -> float:
    """How many observations one slow step delays: a gap of every stream that runs."""
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
