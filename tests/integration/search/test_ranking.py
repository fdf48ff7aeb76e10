"""The prior's choice of what to try first, on the whole space of vLLM."""

from tests.unit.search.targets import target, whole_space
from tests.unit.search.test_prediction import expecting
from tuner.search import predict, rank


def test_ranking_beats_the_configuration_found_on_the_target() -> None:
    info = target(baseline={"max_num_seqs": 16, "max_num_batched_tokens": 512})
    space = whole_space(info)
    ranked = rank(space, expecting(), info.baseline, 3)
    start = predict(space.complete(info.baseline), expecting())
    assert len(ranked) == 3
    assert all((one.value or 0) > 1.2 * (start.value or 0) for one in ranked)
    assert [one.rank for one in ranked] == sorted((one.rank for one in ranked), reverse=True)
    assert len({one.candidate.key for one in ranked}) == 3
    assert all(space.problems(one.candidate) == [] for one in ranked)
    assert all(one.certain and one.refusal is None for one in ranked)
    assert ranked[0].reason == "the simulator's choice no. 1"


def test_ranking_changes_only_knobs_of_which_something_is_expected() -> None:
    info = target(baseline={"max_num_seqs": 16, "max_num_batched_tokens": 512, "block_size": 32})
    for one in rank(whole_space(info), expecting(), info.baseline, 3):
        assert one.candidate["block_size"] == 32
        assert one.candidate["speculative_method"] == "off"


def test_ranking_is_the_same_for_the_same_seed() -> None:
    first, second = (rank(whole_space(), expecting(seed=5), {}, 3) for _ in range(2))
    assert first == second
