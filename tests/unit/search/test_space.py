"""Every way of making a candidate ends inside the space."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.search.targets import A100, cpu_target, small_space, target, whole_space
from tuner.core.knob import Candidate, Knob, KnobKind
from tuner.search import Space, grid, load_space
from tuner.search.relations import parse_relation

SPACES = (
    whole_space(),
    whole_space(target(gpu=A100, gpu_count=4, max_model_len=131072)),
    load_space("vllm", cpu_target()),
    small_space(),
    load_space("vllm", target(gpu_count=4), {"tensor_parallel_size": "search", "max_num_seqs": {"low": 100}}),
)
spaces = st.sampled_from(SPACES)
anything = st.one_of(
    st.booleans(), st.integers(-10, 10**6), st.floats(-10, 1e6), st.sampled_from(["fp8", "auto", "ngram"])
)


@settings(max_examples=150, deadline=None)
@given(space=spaces, data=st.data())
def test_repair_makes_a_candidate_of_anything(space: Space, data: st.DataObject) -> None:
    names = st.sampled_from([knob.name for knob in space.knobs] + ["max_model_len", "nonsense"])
    numbers = st.one_of(st.integers(-10, 10**6), st.floats(-10, 1e6))
    given_values = {}
    for name in data.draw(st.sets(names)):
        knob = space.by_name.get(name)
        numeric = knob is not None and knob.kind in (KnobKind.INT, KnobKind.FLOAT)
        given_values[name] = data.draw(numbers if numeric else anything)
    repaired = space.repair(given_values)
    assert space.problems(repaired) == []
    assert space.repair(repaired) == repaired


@settings(max_examples=60, deadline=None)
@given(space=spaces, seed=st.integers(0, 2**32))
def test_samples_and_neighbours_lie_in_the_space(space: Space, seed: int) -> None:
    candidate = space.sample(random.Random(seed))
    assert space.problems(candidate) == []
    neighbours = space.neighbours(candidate)
    assert neighbours
    assert candidate not in neighbours
    assert len({one.key for one in neighbours}) == len(neighbours)
    for neighbour in neighbours:
        assert space.problems(neighbour) == []
        assert space.distance(candidate, neighbour) > 0


@settings(max_examples=60, deadline=None)
@given(space=spaces, seed=st.integers(0, 2**32))
def test_values_are_worth_trying(space: Space, seed: int) -> None:
    candidate = space.sample(random.Random(seed))
    for knob in space.knobs:
        if knob.name in candidate:
            assert candidate[knob.name] in (grid.values(knob) or ())


def test_prompt_must_fit_a_step_without_chunked_prefill() -> None:
    space = whole_space(target(max_model_len=8192))
    repaired = space.repair({"enable_chunked_prefill": False, "max_num_batched_tokens": 1024})
    assert repaired["max_num_batched_tokens"] == 8192
    assert repaired["enable_chunked_prefill"] is False


def test_chunked_prefill_stays_on_where_no_step_can_hold_the_longest_prompt() -> None:
    space = whole_space(target(max_model_len=131072))
    assert space.repair({"enable_chunked_prefill": False})["enable_chunked_prefill"] is True


def test_left_side_gives_way_to_a_fixed_right_side() -> None:
    space = load_space("vllm", target(), {"max_num_seqs": 1024})
    assert space.repair({"max_num_batched_tokens": 512})["max_num_batched_tokens"] == 1024


def test_tokens_go_with_their_method_only() -> None:
    space = whole_space()
    off = space.repair({"speculative_method": "off", "num_speculative_tokens": 3})
    assert "num_speculative_tokens" not in off
    assert space.repair({"speculative_method": "ngram"})["num_speculative_tokens"] == 3
    broken = off.with_(num_speculative_tokens=2)
    assert any("without its condition" in problem for problem in space.problems(broken))


def test_completing_spells_out_what_the_engine_reported() -> None:
    space = whole_space()
    reported = {"max_num_seqs": 1000, "gpu_memory_utilization": 0.92}
    complete = space.complete({"max_num_batched_tokens": 3000}, reported)
    assert complete["max_num_seqs"] == 1000
    assert complete["max_num_batched_tokens"] == 3000  # off the grid, but this is what runs
    assert complete["kv_cache_dtype"] == "auto"
    assert set(complete) == {knob.name for knob in space.knobs} - {"num_speculative_tokens"}


def test_problems_name_each_mistake() -> None:
    space = small_space()
    problems = space.problems(Candidate.of(max_num_seqs=128, max_num_batched_tokens=64, colour="red"))
    assert "colour is not a knob of this space" in problems
    assert "broken: max_num_batched_tokens >= max_num_seqs" in problems


def test_small_space_lists_each_candidate_once() -> None:
    space = small_space()
    listed = list(space.candidates())
    assert space.size == 9
    assert len(listed) == len(set(listed)) == 8  # 64 tokens a step can't hold 128 sequences
    assert all(space.problems(candidate) == [] for candidate in listed)


def test_continuous_space_is_not_listed() -> None:
    space = Space((Knob("share", KnobKind.FLOAT, 0.0, 1.0),))
    with pytest.raises(ValueError, match="continuous"):
        next(space.candidates())


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        (Knob("n", KnobKind.INT, 16, 128, log=True, per_doubling=2), (16, 24, 32, 48, 64, 96, 128)),
        (Knob("n", KnobKind.INT, 1, 4, log=True, per_doubling=2), (1, 2, 3, 4)),
        (Knob("n", KnobKind.INT, 100, 300, log=True, per_doubling=1), (100, 128, 256, 300)),
        (Knob("u", KnobKind.FLOAT, 0.8, 0.85, step=0.02), (0.8, 0.82, 0.84, 0.85)),
        (Knob("n", KnobKind.INT, 0, 3), (0, 1, 2, 3)),
        (Knob("b", KnobKind.BOOL), (False, True)),
    ],
)
def test_grid_has_round_values_and_both_ends(knob: Knob, expected: tuple[float, ...]) -> None:
    assert grid.values(knob) == expected
    assert all(grid.snap(knob, value) == value for value in expected)
    assert grid.at(knob, 0.0) == expected[0]
    assert grid.at(knob, 1.0) == expected[-1]


@given(
    left=st.integers(1, 100),
    right=st.integers(1, 100),
    flag=st.booleans(),
)
def test_relation_holds_as_it_reads(left: int, right: int, flag: bool) -> None:
    relation = parse_relation("a >= b when c is false")
    assert relation.holds({"a": left, "b": right, "c": flag}) == (flag or left >= right)
    assert parse_relation("a <= 50").holds({"a": left}) == (left <= 50)
    assert relation.holds({"a": left, "c": False})  # what is not known breaks nothing
    assert str(parse_relation(str(relation))) == str(relation)
