from __future__ import annotations

from collections.abc import Mapping

import pytest

from tuner.core.cause import Cause, TrialFailed
from tuner.core.knob import Value
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.settings import Settings, resolve

LLAMA = MODELS["Llama-3.1-8B"]


def settle(values: Mapping[str, Value], gpu: str = "H100", count: int = 1, version: str | None = None) -> Settings:
    return resolve(values, {"max_model_len": 8192}, LLAMA, GPUS[gpu], count, version)


@pytest.mark.parametrize(
    ("gpu", "seqs", "tokens"),
    [("H100", 1024, 8192), ("H200", 1024, 8192), ("B200", 1024, 16384), ("A100-80", 256, 2048), ("L4", 256, 2048)],
)
def test_defaults_depend_on_the_gpu(gpu: str, seqs: int, tokens: int) -> None:
    settings = settle({}, gpu)
    assert (settings.max_num_seqs, settings.max_num_batched_tokens) == (seqs, tokens)


@pytest.mark.parametrize(("version", "utilization"), [("0.19.0", 0.90), ("0.22.1", 0.92), (None, 0.92)])
def test_default_utilization_depends_on_the_version(version: str | None, utilization: float) -> None:
    assert settle({}, version=version).gpu_memory_utilization == utilization


def test_only_unset_values_are_bent() -> None:
    assert settle({"max_num_batched_tokens": 512}).max_num_seqs == 512
    assert settle({"max_num_seqs": 1, "max_model_len": 128}).max_num_batched_tokens == 128
    assert settle({"enable_chunked_prefill": False, "max_model_len": 32768}).max_num_batched_tokens == 32768


def test_candidates_go_over_fixed_settings() -> None:
    assert settle({"max_model_len": 4096}).max_model_len == 4096


def test_reported_values_are_resolved_knobs() -> None:
    values = settle({"max_num_seqs": 32}).as_values()
    assert values["max_num_seqs"] == 32
    assert values["gpu_memory_utilization"] == 0.92
    assert values["speculative_method"] == "off"
    assert "num_speculative_tokens" not in values
    drafting = settle({"speculative_method": "ngram", "num_speculative_tokens": 3}).as_values()
    assert (drafting["speculative_method"], drafting["num_speculative_tokens"]) == ("ngram", 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"max_num_seqs": 256, "max_num_batched_tokens": 128},
            "max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256).",
        ),
        (
            {"max_num_batched_tokens": 1024, "max_num_seqs": 8, "enable_chunked_prefill": False},
            "max_num_batched_tokens (1024) is smaller than max_model_len (8192).",
        ),
        ({"max_num_seqs": 0}, "Input should be greater than or equal to 1"),
        ({"max_num_seqs": "abc"}, "argument --max-num-seqs: invalid int value: 'abc'"),
        ({"max_num_seqs": True}, "invalid int value"),
        ({"gpu_memory_utilization": 1.5}, "Input should be less than or equal to 1"),
        ({"gpu_memory_utilization": 0.0}, "Input should be greater than 0"),
        ({"kv_cache_dtype": "fp7"}, "argument --kv-cache-dtype: invalid choice: 'fp7'"),
        ({"block_size": 7}, "No common block size for 7"),
        ({"max_model_len": 262144}, "User-specified max_model_len (262144) is greater than"),
        ({"speculative_method": "ngram"}, "num_speculative_tokens must be provided"),
        ({"speculative_method": "magic", "num_speculative_tokens": 2}, "Input should be 'ngram'"),
        ({"tensor_parallel_size": 2}, "World size (2) is larger than the number of available GPUs (1)"),
    ],
)
def test_vllms_refusals_are_its_own_words(values: dict[str, Value], message: str) -> None:
    with pytest.raises(TrialFailed) as caught:
        settle(values)
    assert caught.value.failure.cause is Cause.BAD_FLAG
    assert message in caught.value.failure.message


def test_heads_must_divide_among_the_gpus() -> None:
    with pytest.raises(TrialFailed, match=r"attention heads \(32\) must be divisible by tensor parallel size \(3\)"):
        settle({"tensor_parallel_size": 3}, count=4)


def test_fp8_cache_breaks_old_gpus_at_start() -> None:
    with pytest.raises(TrialFailed, match="fp8e4nv not supported") as caught:
        settle({"kv_cache_dtype": "fp8"}, "A100-80")
    assert caught.value.failure.cause is Cause.CRASH_AT_START
    assert settle({"kv_cache_dtype": "fp8_e5m2"}, "A100-80").kv_cache_dtype == "fp8_e5m2"
    assert settle({"kv_cache_dtype": "fp8"}, "L4").kv_cache_dtype == "fp8"
