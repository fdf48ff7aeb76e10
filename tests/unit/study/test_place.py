"""What the user says of model and GPU lies over what was found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.search.targets import H100, LLAMA, cpu_target, target
from tuner.core.errors import InvalidInput
from tuner.search import load_space
from tuner.study.place import informed
from tuner.study.spec import StudySpec, load_spec


def spec(**options: Any) -> StudySpec:
    return load_spec(None, {"namespace": "inference", **options})


def test_the_users_word_counts_where_the_target_says_nothing_and_where_it_says_something_else() -> None:
    silent = target(gpu=None, model=None)
    told = informed(spec(gpu="H100", model="llama-3.1-8b", **{"gpu-count": 4}), silent)
    assert (told.gpu, told.model_shape, told.gpu_count) == (H100, LLAMA, 4)
    other = informed(spec(gpu="L4"), target())
    assert (other.gpu.name if other.gpu else None, other.model_shape, other.gpu_count) == ("L4", LLAMA, 1)
    assert informed(spec(), target()) == target()


def test_knobs_are_searched_by_the_gpus_that_the_user_named() -> None:
    edits = {"tensor_parallel_size": "search"}
    silent = target(gpu=None)
    assert "kv_cache_dtype" not in load_space("vllm", silent, allow_output_change=True).by_name
    told = informed(spec(gpu="H100", **{"gpu-count": 2}), silent)
    space = load_space("vllm", told, edits, allow_output_change=True)
    assert space.by_name["kv_cache_dtype"].choices == ("auto", "fp8")
    assert space.by_name["tensor_parallel_size"].choices == (1, 2)


@pytest.mark.parametrize(("option", "value"), [("gpu", "H100"), ("gpu-count", 2)])
def test_a_gpu_named_for_an_engine_on_a_cpu_is_refused(option: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"{option.replace('-', '_')}: {value!r}, but prod/llama runs on a CPU"):
        informed(spec(**{option: value}), cpu_target())
    assert informed(spec(), cpu_target()) == cpu_target()
