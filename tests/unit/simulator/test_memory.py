from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.core.cause import Cause
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Value
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.memory import MemoryConstants, MemoryPlan, calibrate, constants_for, plan
from tuner.simulator.settings import Settings, resolve

LLAMA, QWEN_32B = MODELS["Llama-3.1-8B"], MODELS["Qwen3-32B"]
H100, L4 = GPUS["H100"], GPUS["L4"]


def settle(**values: Value) -> Settings:
    return resolve(values, {"max_model_len": 8192}, LLAMA, H100, 8)


def planned(gpu: str = "H100", model: str = "Llama-3.1-8B", **values: Value) -> MemoryPlan:
    settings = resolve({"max_model_len": 8192, **values}, {}, MODELS[model], GPUS[gpu], 8)
    return plan(MODELS[model], GPUS[gpu], settings)


def test_the_terms_add_up() -> None:
    p = planned()
    left = p.requested_gib - p.weights_gib - p.activation_gib - p.non_torch_gib - p.graphs_gib
    assert p.kv_gib == pytest.approx(left)
    assert p.kv_tokens == pytest.approx(p.kv_gib * 2**30 / 131072, abs=16)
    assert p.kv_tokens % 16 == 0
    assert p.max_concurrency == p.kv_tokens / 8192
    assert p.refusal is None


def test_graphs_are_outside_the_pool_before_0_21() -> None:
    old, new = (
        plan(LLAMA, H100, replace(settle(gpu_memory_utilization=0.9), version=version))
        for version in ("0.19.0", "0.21.0")
    )
    assert old.kv_gib - new.kv_gib == pytest.approx(new.graphs_gib)


def test_each_refusal_has_its_own_cause_and_words() -> None:
    free = planned(gpu_memory_utilization=1.0).refusal
    assert free is not None
    assert free.cause is Cause.GPU_OOM_AT_START
    assert "is less than desired GPU memory utilization (1, 79.19 GiB)" in free.message
    load = planned("L4", "Qwen3-32B").refusal
    assert load is not None
    assert (load.cause, load.message[:20]) == (Cause.GPU_OOM_AT_START, "Failed to load model")
    blocks = planned("L4", gpu_memory_utilization=0.7).refusal
    assert blocks is not None
    assert blocks.cause is Cause.KV_CACHE_TOO_SMALL
    assert "No available memory for the cache blocks" in blocks.message
    sampler = planned(gpu_memory_utilization=0.98, max_num_seqs=2048, max_num_batched_tokens=2048).refusal
    assert sampler is not None
    assert sampler.cause is Cause.GPU_OOM_AT_START
    assert "warming up sampler with 2048 dummy requests" in sampler.message


def test_a_pool_too_short_for_one_request_proposes_a_length_that_starts() -> None:
    refusal = planned("L4", max_model_len=131072).refusal
    assert refusal is not None
    assert refusal.cause is Cause.KV_CACHE_TOO_SMALL
    assert "To serve at least one request with the model's max seq len (131072)" in refusal.message
    assert refusal.overshoot is not None
    assert refusal.overshoot > 0
    assert refusal.hint is not None
    length = refusal.hint["max_model_len"]
    assert f"estimated maximum model length is {length}" in refusal.message
    assert planned("L4", max_model_len=length).refusal is None
    assert planned("L4", max_model_len=length + 16).refusal is not None


def test_a_pool_given_in_bytes_or_blocks_bypasses_the_identity() -> None:
    assert planned(kv_cache_memory_bytes=2**31).kv_tokens == 2**31 // 131072
    assert planned(num_gpu_blocks_override=1000).kv_tokens == 16000
    refusal = planned(num_gpu_blocks_override=100).refusal
    assert refusal is not None
    assert refusal.hint == {"max_model_len": 99 * 16}


def test_predictions_close_to_a_cliff_are_not_certain() -> None:
    seen = [planned("L4", max_model_len=length) for length in range(8192, 65536, 2048)]
    assert seen[0].certain is False or seen[0].margin > 0.03
    for p in seen:
        assert p.certain == (abs(p.margin) >= 0.03)
        assert (p.margin < 0) == (p.refusal is not None)
    assert any(p.refusal and not p.certain for p in seen)
    assert any(p.refusal and p.certain for p in seen)


@given(
    seqs=st.integers(16, 1024),
    tokens=st.integers(1024, 32768),
    utilization=st.floats(0.8, 0.97),
    more=st.integers(1, 4096),
)
def test_more_batch_never_leaves_more_cache(seqs: int, tokens: int, utilization: float, more: int) -> None:
    values = {"max_num_seqs": seqs, "gpu_memory_utilization": utilization}
    small = planned(**values, max_num_batched_tokens=tokens)
    assert planned(**values, max_num_batched_tokens=tokens + more).kv_tokens <= small.kv_tokens
    higher = planned(**{**values, "gpu_memory_utilization": utilization + 0.01}, max_num_batched_tokens=tokens)
    assert higher.kv_gib > small.kv_gib


def _facts(p: MemoryPlan) -> EngineFacts:
    return EngineFacts(
        engine="vllm",
        kv_cache_tokens=p.kv_tokens,
        weights_gib=p.weights_gib,
        activation_gib=p.activation_gib,
        non_torch_gib=p.non_torch_gib,
        graphs_gib=p.graphs_gib,
        total_gib=p.total_gib,
    )


HIDDEN = MemoryConstants(
    logits_bytes=14,
    weights_factor=1.01,
    activation_factor=1.3,
    graphs_factor=0.8,
    non_torch_gib=0.5,
    residual_gib=0.4,
    total_gib=78.9,
)


def test_a_log_teaches_every_term() -> None:
    seen, other = settle(max_num_seqs=256), settle(max_num_seqs=64, gpu_memory_utilization=0.8, kv_cache_dtype="fp8")
    learnt = calibrate(constants_for(None), _facts(plan(LLAMA, H100, seen, HIDDEN)), seen, LLAMA, H100)
    for settings in (seen, other):
        truth, guess = (plan(LLAMA, H100, settings, constants) for constants in (HIDDEN, learnt))
        assert guess.kv_tokens == pytest.approx(truth.kv_tokens, rel=1e-3)


def test_the_pool_alone_teaches_a_residual() -> None:
    seen, other = settle(), settle(gpu_memory_utilization=0.8)
    facts = EngineFacts(engine="vllm", kv_cache_tokens=plan(LLAMA, H100, seen, HIDDEN).kv_tokens)
    learnt = calibrate(constants_for(None), facts, seen, LLAMA, H100)
    assert plan(LLAMA, H100, seen, learnt).kv_tokens == pytest.approx(facts.kv_cache_tokens, abs=32)
    blind, truth = plan(LLAMA, H100, other), plan(LLAMA, H100, other, HIDDEN)
    guess = plan(LLAMA, H100, other, learnt)
    assert abs(guess.kv_tokens - truth.kv_tokens) < abs(blind.kv_tokens - truth.kv_tokens) / 5


def test_learning_twice_is_learning_once() -> None:
    settings = settle()
    facts = _facts(plan(LLAMA, H100, settings, HIDDEN))
    once = calibrate(constants_for(None), facts, settings, LLAMA, H100)
    twice = calibrate(once, facts, settings, LLAMA, H100)
    assert plan(LLAMA, H100, settings, twice) == plan(LLAMA, H100, settings, once)


def test_a_log_without_figures_teaches_nothing() -> None:
    constants = constants_for("0.19")
    assert calibrate(constants, EngineFacts(engine="vllm"), settle(), LLAMA, H100) == constants


def test_parallel_runs_have_their_own_overhead() -> None:
    alone, pair = settle(), settle(tensor_parallel_size=2)
    facts = replace(_facts(plan(LLAMA, H100, pair)), non_torch_gib=3.0, kv_cache_tokens=None)
    learnt = calibrate(constants_for(None), facts, pair, LLAMA, H100)
    assert plan(LLAMA, H100, pair, learnt).non_torch_gib == 3.0
    assert plan(LLAMA, H100, alone, learnt).non_torch_gib == plan(LLAMA, H100, alone).non_torch_gib
