from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.simulator.blocks import BlockPool, Holding

PREFIX = ("a", "b", "c", "d")


def test_one_block_is_the_null_block() -> None:
    pool = BlockPool(10, 16, True)
    assert pool.free == pool.total == 9
    assert not pool.grow(Holding(), 10)
    assert pool.free == 9


def test_a_released_prefix_is_hit_until_its_blocks_are_needed() -> None:
    pool = BlockPool(9, 16, True)
    first = Holding()
    assert pool.grow(first, 5, PREFIX)
    assert pool.cached_prefix(PREFIX) == 4
    pool.release(first)
    assert (pool.free, pool.cached_prefix(PREFIX)) == (8, 4)
    assert pool.grow(Holding(), 6)  # 3 never used, 1 plain, then the end of the prefix
    assert pool.cached_prefix(PREFIX) == 2


def test_shared_blocks_are_free_when_the_last_holder_has_gone() -> None:
    pool = BlockPool(9, 16, True)
    first, second = Holding(), Holding()
    pool.grow(first, 4, PREFIX)
    pool.hold_cached(second, PREFIX)
    pool.grow(second, 5, PREFIX)
    assert (pool.free, second.blocks) == (3, 5)
    pool.release(first)
    assert pool.free == 3
    pool.release(second)
    assert pool.free == 8


def test_the_same_tokens_computed_twice_at_once_are_cached_once() -> None:
    pool = BlockPool(9, 16, True)
    first, second = Holding(), Holding()
    pool.grow(first, 4, PREFIX)
    pool.grow(second, 4, PREFIX)
    assert pool.free == 0
    assert (len(first.hashed), second.plain) == (4, 4)
    pool.release(second)
    pool.release(first)
    assert (pool.free, pool.cached_prefix(PREFIX)) == (8, 4)


def test_the_least_recently_used_prefix_goes_first() -> None:
    pool = BlockPool(9, 16, True)
    for name in "xy":
        holding = Holding()
        pool.grow(holding, 4, [(name, i) for i in range(4)])
        pool.release(holding)
    again = Holding()
    pool.hold_cached(again, [("x", i) for i in range(4)])
    pool.release(again)
    pool.grow(Holding(), 4)
    assert pool.cached_prefix([("x", i) for i in range(4)]) == 4
    assert pool.cached_prefix([("y", i) for i in range(4)]) == 0


def test_nothing_is_cached_when_caching_is_off() -> None:
    pool = BlockPool(9, 16, False)
    holding = Holding()
    pool.grow(holding, 4, PREFIX)
    pool.release(holding, PREFIX)
    assert pool.cached_prefix(PREFIX) == 0
    assert pool.free == 8


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 12), st.booleans()), min_size=1, max_size=60
    )
)
def test_no_block_is_lost_or_made(moves: list[tuple[int, int, int, bool]]) -> None:
    """Holders come, hit, grow, are preempted and go; free and held blocks always add up."""
    pool = BlockPool(21, 16, True)
    holders: dict[int, Holding] = {}
    for who, group, blocks, preempt in moves:
        hashes = [(group, index) for index in range(6)]
        if who in holders:
            own = [(who, index) for index in range(20)]
            pool.release(holders.pop(who), [*hashes, *own[6:]] if preempt else ())
        else:
            holding = Holding()
            hits = pool.cached_prefix(hashes)
            assert pool.free_after_hits(hashes[:hits]) >= 0
            pool.hold_cached(holding, hashes[:hits])
            pool.grow(holding, blocks, hashes)
            holders[who] = holding
        held = {block for holding in holders.values() for block in holding.hashed}
        plain = sum(holding.plain for holding in holders.values())
        assert pool.free + len(held) + plain == pool.total
        assert 0 <= pool.usage <= 1
    for holding in holders.values():
        pool.release(holding)
    assert pool.free == pool.total
