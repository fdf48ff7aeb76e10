from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.probe.verdict.confidence import beta_cdf, least_count, lower_share, quantile_ranks, t_quantile, upper_share


def binomial_cdf(k: int, n: int, p: float) -> float:
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@given(st.integers(1, 60), st.data(), st.floats(0.01, 0.99))
def test_the_beta_distribution_is_the_binomials_tail(n: int, data: st.DataObject, p: float) -> None:
    k = data.draw(st.integers(0, n - 1))

    assert 1 - beta_cdf(p, k + 1, n - k) == pytest.approx(binomial_cdf(k, n, p), abs=1e-10)


@given(st.integers(1, 300), st.data(), st.sampled_from([0.05, 0.0125, 0.003]))
def test_bounds_are_exact(n: int, data: st.DataObject, alpha: float) -> None:
    k = data.draw(st.integers(0, n))

    upper, lower = upper_share(k, n, alpha), lower_share(k, n, alpha)

    assert 0 <= lower <= k / n <= upper <= 1
    if k < n:
        assert binomial_cdf(k, n, upper) == pytest.approx(alpha, rel=1e-6)
    if k > 0:
        assert 1 - binomial_cdf(k - 1, n, lower) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize(
    ("p", "df", "quantile"),
    # Published tables of Student's t.
    [(0.95, 9, 1.8331), (0.975, 9, 2.2622), (0.99, 8, 2.8965), (0.975, 1, 12.7062), (0.975, 1e6, 1.95996)],
)
def test_t_quantiles_agree_with_the_tables(p: float, df: float, quantile: float) -> None:
    assert t_quantile(p, df) == pytest.approx(quantile, rel=1e-4)


def test_59_clean_requests_prove_a_p95_and_299_a_p99() -> None:
    assert (least_count(0.05, 0.05), least_count(0.01, 0.05)) == (59, 299)
    assert upper_share(0, 59, 0.05) < 0.05 < upper_share(0, 58, 0.05)
    assert upper_share(4, 200, 0.05) < 0.05 < upper_share(5, 200, 0.05)
    assert upper_share(12, 400, 0.05) < 0.05 < upper_share(13, 400, 0.05)


@given(st.integers(1, 300), st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.sampled_from([0.05, 0.1]))
def test_the_ranks_around_a_quantile_are_the_closest_that_miss_it_rarely_enough(n: int, p: float, alpha: float) -> None:
    low, high = quantile_ranks(n, p, alpha)

    def is_below(rank: int) -> float:  # that the order statistic of this rank is at most the quantile
        return 1 - binomial_cdf(rank - 1, n, p)

    assert 0 <= low < high <= n + 1
    assert low == 0 or 1 - is_below(low) <= alpha / 2 + 1e-12
    assert 1 - is_below(low + 1) > alpha / 2 - 1e-12
    assert high == n + 1 or is_below(high) <= alpha / 2 + 1e-12
    assert is_below(high - 1) > alpha / 2 - 1e-12


def test_the_ranks_of_a_large_sample_are_those_of_the_normal_distribution() -> None:
    low, high = quantile_ranks(10**6, 0.95, 0.05)

    assert (low, high) == (pytest.approx(950_000 - 1.96 * 217.9, abs=2), pytest.approx(950_000 + 1.96 * 217.9, abs=2))
