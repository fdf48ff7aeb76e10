"""What the user says of model and GPU lies over what was found; simulated engines run as people run one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.search.targets import H100, LLAMA, cpu_target, target
from tuner.core.errors import InvalidInput
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.search import load_space
from tuner.study.place import informed, simulated
from tuner.study.spec import SimulatedSpec, StudySpec, load_spec
from tuner.study.spec.fields import hardware


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


@pytest.mark.parametrize("asking", ["the node's labels do not name its GPU; name it with --gpu", "gpu: 'X' is a slice"])
def test_a_gpu_that_is_known_is_not_asked_for(asking: str) -> None:
    silent = replace(target(gpu=None), notes=(asking, "something else"))
    assert informed(spec(), silent).notes == (asking, "something else")
    assert informed(spec(gpu="H100"), silent).notes == ("something else",)


@pytest.mark.parametrize(("option", "value"), [("gpu", "H100"), ("gpu-count", 2)])
def test_a_gpu_named_for_an_engine_on_a_cpu_is_refused(option: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"{option.replace('-', '_')}: {value!r}, but prod/llama runs on a CPU"):
        informed(spec(**{option: value}), cpu_target())
    assert informed(spec(), cpu_target()) == cpu_target()


async def _found(text: str, **more: Any) -> TargetInfo:
    return await simulated(SimulatedSpec.model_validate({**hardware(text), **more})).inspect()


async def test_several_gpus_share_a_simulated_model_unless_its_baseline_says_otherwise() -> None:
    assert (await _found("2xh100/llama-3.1-70b")).baseline == Candidate.of(tensor_parallel_size=2)
    assert (await _found("h100/llama-3.1-8b")).baseline == Candidate()
    alone = await _found("4xh100/llama-3.1-8b", baseline={"tensor_parallel_size": 1})
    assert alone.baseline == Candidate.of(tensor_parallel_size=1)


def test_gpus_that_can_not_share_a_model_are_refused_with_how_many_can() -> None:
    with pytest.raises(InvalidInput, match=r"3 GPUs .* 32 attention heads .* allowed: 1, 2, 4, 8, 16, 32"):
        simulated(SimulatedSpec.model_validate(hardware("3xh100/llama-3.1-8b")))


@pytest.mark.parametrize(("gpu", "enough"), [("h100", 2), ("l4", 16)])
async def test_a_model_that_is_too_large_is_refused_with_how_many_gpus_take_it(gpu: str, enough: int) -> None:
    target = f"{enough}x{gpu}/llama-3.1-70b"
    with pytest.raises(InvalidInput, match=f"does not start.* on {enough} GPUs it does: {target}"):
        await _found(f"{gpu}/llama-3.1-70b")
    assert (await _found(target)).gpu_count == enough


async def test_what_no_number_of_gpus_mends_is_refused_without_one() -> None:
    with pytest.raises(InvalidInput) as refused:
        await _found("h100/llama-3.1-8b", baseline={"max_num_seqs": 4096, "max_num_batched_tokens": 512})
    assert "GPUs it does" not in str(refused.value)


@pytest.mark.parametrize("text", ["l4/llama-3.1-8b", "b200/llama-3.1-70b", "2xh100/llama-3.1-70b"])
async def test_a_context_that_has_no_room_is_shortened_and_said(text: str) -> None:
    found = await _found(text)
    length = found.fixed["max_model_len"]
    assert 1024 <= int(length) < 131072
    assert f"max_model_len={length}, the longest that fits" in found.notes[0]
    with pytest.raises(InvalidInput, match="does not start"):
        await _found(text, baseline={"max_model_len": int(length) + 2048})


async def test_a_context_that_fits_is_left_alone() -> None:
    found = await _found("h100/llama-3.1-8b")
    assert (found.fixed, found.notes) == ({}, ())
