from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.core.workload import Objective, ObjectiveKind
from tuner.study.gain import (
    Block,
    clearly_better,
    compare_blocks,
    estimate,
    hopeless,
    looks,
    order,
)

SMALLEST = 0.05


def started(rng: random.Random, pairs: int, gain: float, noise: float) -> list[Block]:
    """Values of a confirmation: each block has its own level, each start its own noise."""
    blocks = []
    for first in range(0, pairs, 2):
        level = rng.lognormvariate(7, 0.2)
        sides = [
            tuple(level * g * rng.lognormvariate(0, noise) for _ in range(min(2, pairs - first))) for g in (1, 1 + gain)
        ]
        blocks.append(Block(*sides))
    return blocks


def concluded(rng: random.Random, pairs: int, gain: float, noise: float) -> tuple[bool, int]:
    """Whether the rule finds the finalist better, and after how many pairs it answers."""
    blocks = started(rng, pairs, gain, noise)
    for done in looks(pairs):
        found = estimate(blocks[: math.ceil(done / 2)])
        assert found is not None
        if clearly_better(found, done, pairs, SMALLEST):
            return True, done
        if hopeless(found, SMALLEST):
            return False, done
    return False, pairs


@given(st.integers(2, 20), st.integers(0, 1000))
def test_each_side_starts_once_per_pair_and_blocks_are_abba_or_baab(pairs: int, seed: int) -> None:
    sequence = order(pairs, seed)

    assert len(sequence) == 2 * pairs
    assert all({*sequence[i : i + 2]} == {"A", "B"} for i in range(0, 2 * pairs, 2))
    assert all(sequence[i : i + 4] in ("ABBA", "BAAB") for i in range(0, 2 * pairs - 3, 4))
    assert order(pairs, seed) == sequence


def test_both_sides_come_first_over_many_studies() -> None:
    assert {order(4, seed)[0] for seed in range(20)} == {"A", "B"}


@given(st.integers(2, 40))
def test_the_data_is_looked_at_after_whole_blocks_and_at_the_end(pairs: int) -> None:
    planned = looks(pairs)

    assert planned[-1] == pairs
    assert all(done % 2 == 0 for done in planned[:-1])
    assert all(a < b for a, b in pairwise(planned))


def test_what_differs_between_blocks_is_common_to_both_sides() -> None:
    found = estimate([Block((100.0, 101.0), (110.0, 111.1)), Block((300.0, 303.0), (330.0, 333.3))])

    assert found is not None
    assert math.exp(found.gain) == pytest.approx(1.1)
    assert found.freedom == 8 - 2 - 1
    assert found.error < 0.01  # though the values differ threefold


def test_a_gain_that_differs_between_blocks_widens_the_interval() -> None:
    alike = compare_blocks([Block((100.0, 101.0), (110.0, 111.0)), Block((100.0, 101.0), (110.0, 111.0))])
    unlike = compare_blocks([Block((100.0, 101.0), (100.0, 101.0)), Block((100.0, 101.0), (121.0, 122.0))])

    assert alike is not None
    assert unlike is not None
    assert unlike.gain == pytest.approx(alike.gain, rel=0.05)
    assert alike.low > 0.05
    assert unlike.low < 0 < unlike.gain < unlike.high


def test_a_block_without_a_baseline_says_nothing_about_the_gain() -> None:
    whole = Block((100.0, 104.0), (110.0, 108.0))

    assert estimate([whole, Block((), (500.0, 510.0))]) == estimate([whole])
    assert estimate([Block((), (500.0, 510.0))]) is None
    assert estimate([Block((100.0,), (110.0,))]) is None  # no noise is seen
    some = estimate([whole, Block((100.0,), (110.0, 108.0))])
    assert some is not None
    assert some.freedom == 7 - 2 - 1


@given(st.floats(0.01, 100), st.integers(0, 100))
def test_the_unit_of_the_values_does_not_matter(factor: float, seed: int) -> None:
    blocks = started(random.Random(seed), 4, 0.1, 0.05)
    scaled = [Block(tuple(v * factor for v in b.baseline), tuple(v * factor for v in b.finalist)) for b in blocks]

    one, other = compare_blocks(blocks), compare_blocks(scaled)
    assert one is not None
    assert other is not None
    assert (other.gain, other.low, other.high) == pytest.approx((one.gain, one.low, one.high), abs=1e-9)


def test_a_gain_in_headroom_is_one_of_the_bound_against_the_statistic() -> None:
    merit = Objective(ObjectiveKind.HEADROOM, rate=5.0).merit
    found = compare_blocks([Block((0.04, 0.05), (0.44, 0.43)), Block((0.0, 0.04), (0.45, 0.44))], merit)

    assert found is not None
    assert found.gain == pytest.approx(0.967 / 0.56 - 1, abs=0.02)
    assert 0.5 < found.low < found.high < 1.0
    assert found.baseline_values == (0.04, 0.05, 0.0, 0.04)


def test_a_gain_that_does_not_matter_is_not_a_winner_however_certain() -> None:
    found = estimate(started(random.Random(1), 8, 0.03, 0.001))

    assert found is not None
    assert found.bound(0.975) < math.log1p(SMALLEST)
    assert not clearly_better(found, 8, 8, SMALLEST)
    assert hopeless(found, SMALLEST)
    assert clearly_better(found, 8, 8, 0.01)


def test_an_early_look_asks_for_more_than_the_last_one() -> None:
    found = estimate(started(random.Random(3), 4, 0.12, 0.03))

    assert found is not None
    assert clearly_better(found, 4, 4, SMALLEST)
    assert not clearly_better(found, 4, 12, SMALLEST)


@pytest.mark.parametrize(("noise", "most_pairs"), [(0.01, 2.2), (0.035, 3.6), (0.1, 4.0)])
def test_equal_configurations_are_seldom_called_better(noise: float, most_pairs: float) -> None:
    rng = random.Random(11)
    answers = [concluded(rng, 4, 0.0, noise) for _ in range(400)]

    # 3 % of 400 and three standard deviations.
    assert sum(better for better, _ in answers) <= 22
    assert sum(done for _, done in answers) / 400 <= most_pairs  # of 4


def test_two_pairs_that_leave_room_for_a_gain_are_no_answer() -> None:
    found = estimate([Block((100.0, 109.0), (95.0, 105.0))])

    assert found is not None
    assert math.exp(found.bound(0.975)) > 1.15
    assert not hopeless(found, SMALLEST)


def test_an_early_end_costs_little_power() -> None:
    rng = random.Random(14)
    lost = 0
    for _ in range(1000):
        blocks = started(rng, 6, 0.10, 0.05)
        found = [(done, estimate(blocks[: math.ceil(done / 2)])) for done in looks(6)]
        better = [done for done, one in found if one is not None and clearly_better(one, done, 6, SMALLEST)]
        ended = [done for done, one in found if one is not None and hopeless(one, SMALLEST)]
        lost += bool(better and ended and ended[0] < better[0])

    assert lost <= 30


def test_ten_percent_are_found_at_the_noise_of_a_real_engine() -> None:
    rng = random.Random(12)

    assert sum(concluded(rng, 4, 0.10, 0.035)[0] for _ in range(400)) > 0.78 * 400


def test_intervals_hold_the_gain_about_as_often_as_they_say() -> None:
    rng = random.Random(13)
    held = 0
    for _ in range(400):
        found = compare_blocks(started(rng, 4, 0.10, 0.05))
        assert found is not None
        held += found.low <= 0.10 <= found.high

    assert 0.91 < held / 400 < 0.985
