from __future__ import annotations

import math

import pytest

from tests.unit.probe.queue_driver import QueueDriver
from tuner.core.request import GreedyOutput
from tuner.core.workload import Lengths, Workload
from tuner.probe import MAX_TOKENS, PROMPTS, compare, soak


def outputs(*texts: str, logprob: float = -1.0) -> list[GreedyOutput]:
    return [GreedyOutput(tuple(text), logprob) for text in texts]


def test_equal_outputs_agree() -> None:
    agreement = compare(outputs("abcd", "efgh"), outputs("abcd", "efgh"))

    assert (agreement.share, agreement.logprob_difference, agreement.ok) == (1.0, 0.0, True)


def test_agreement_counts_up_to_the_first_difference() -> None:
    assert compare(outputs("abcd", "efgh"), outputs("abXd", "efgh")).share == 0.75


# The figures seen on the real engine (144 tokens of greedy output against the default KV cache).
@pytest.mark.parametrize(
    ("agreeing", "difference", "ok"), [(144, 0.0, True), (74, 0.10, True), (47, 0.33, True), (2, 1.87, False)]
)
def test_sound_caches_pass_and_corrupt_ones_do_not(agreeing: int, difference: float, ok: bool) -> None:
    assert len(PROMPTS) * MAX_TOKENS == 144
    baseline = outputs("a" * 144)
    candidate = outputs("a" * agreeing + "b" * (144 - agreeing), logprob=-1.0 - difference)

    assert compare(baseline, candidate).ok is ok


def test_a_broken_probability_is_a_problem() -> None:
    agreement = compare(outputs("ab"), outputs("ab", logprob=math.nan))

    assert not agreement.ok
    assert "nan" in agreement.reason


def test_different_numbers_of_prompts_can_not_be_compared() -> None:
    with pytest.raises(ValueError, match="can't be compared"):
        compare(outputs("a"), outputs("a", "b"))


async def test_a_soak_sends_the_longest_requests_at_full_concurrency() -> None:
    driver = QueueDriver()

    level = await soak(driver, Workload(Lengths(100, 0.5), Lengths(50, 0.5)), 12, seed=3)

    plan = driver.plans[-1]
    assert plan.load.concurrency == 12
    assert len(plan.requests) == 24
    assert min(r.output_tokens for r in plan.requests) > 100
    assert level.answer.value == "pass"
    assert level.requests == 24


@pytest.mark.parametrize(("kv_tokens", "concurrency"), [(None, 12), (100_000, 12), (1000, 7), (100, 1)])
async def test_a_soak_fills_the_cache_and_one_more_and_may_take_as_long_as_its_work_takes(
    kv_tokens: int | None, concurrency: int
) -> None:
    driver = QueueDriver()

    await soak(driver, Workload(Lengths(100), Lengths(50)), 12, seed=3, kv_tokens=kv_tokens, token_rate=10.0)

    plan = driver.plans[-1]
    assert plan.load.concurrency == concurrency
    assert plan.max_s == plan.timeout_s == 4 * 2 * concurrency * 150 / 10.0
