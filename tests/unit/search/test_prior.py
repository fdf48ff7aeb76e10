"""What is tried first where nothing can be simulated."""

import pytest

from tests.unit.search.targets import cpu_target, small_space, target
from tests.unit.search.test_prediction import expecting
from tuner.search import Space, load_space, rank


@pytest.mark.parametrize("space", [load_space("vllm", cpu_target()), small_space(), Space(())])
def test_without_a_known_gpu_rules_of_the_field_order_the_first(space: Space) -> None:
    ranked = rank(space, None, {"max_num_seqs": 64, "max_num_batched_tokens": 512}, 3)
    assert bool(ranked) == bool(space.knobs)
    assert all(one.value is None and "rule of the field" in one.reason for one in ranked)
    assert all(space.problems(one.candidate) == [] for one in ranked)
    assert len({one.candidate.key for one in ranked}) == len(ranked)


def test_where_the_planner_thinks_that_what_runs_can_not_start_the_rules_of_the_field_come_first() -> None:
    longer = rank(small_space(), expecting(fixed={"max_model_len": 262_144}), {})
    baseline = {"kv_cache_dtype": "nvfp4"}
    unknown = rank(load_space("vllm", target(baseline=baseline)), expecting(), baseline)
    for found in (longer, unknown):
        assert found
        assert all("rule of the field" in one.reason for one in found)
