from __future__ import annotations

import statistics

import pytest

from tuner.core.knob import Value
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.cost import Roofline, StepWork
from tuner.simulator.memory import MemoryPlan, plan
from tuner.simulator.settings import Settings, resolve
from tuner.simulator.truth import RESTART_CV, Truth

LLAMA, H100 = MODELS["Llama-3.1-8B"], GPUS["H100"]
WORK = StepWork(decode_sequences=32, context_tokens=32 * 600)


def settle(**values: Value) -> Settings:
    return resolve(values, {"max_model_len": 8192}, LLAMA, H100, 1)


def planned(truth: Truth, **values: Value) -> MemoryPlan:
    return plan(LLAMA, H100, settle(**values), truth.memory(None))


def test_truths_differ_from_the_planner_and_from_each_other() -> None:
    settings = settle()
    guess = Roofline(LLAMA, H100, settings).seconds(WORK)
    ratios = [Truth(seed).cost(LLAMA, H100, settings, 1).seconds(WORK) / guess for seed in range(30)]
    assert len(set(ratios)) == 30
    assert all(0.6 < ratio < 1.7 for ratio in ratios)
    assert 0.05 < statistics.stdev(ratios) < 0.25
    pools = [planned(Truth(seed)).kv_tokens / plan(LLAMA, H100, settings).kv_tokens for seed in range(30)]
    assert 0.002 < statistics.stdev(pools) < 0.03


def test_the_same_seed_is_the_same_truth() -> None:
    settings = settle()
    first, second = Truth(7), Truth(7)
    assert first.cost(LLAMA, H100, settings, 3).seconds(WORK) == second.cost(LLAMA, H100, settings, 3).seconds(WORK)
    assert first.memory(None) == second.memory(None)
    assert first.level_noise(3, 2).apply([1.0] * 5) == second.level_noise(3, 2).apply([1.0] * 5)


def test_starts_of_one_configuration_vary_as_a_real_engines_do() -> None:
    truth, settings = Truth(1), settle()
    seconds = [truth.cost(LLAMA, H100, settings, start).seconds(WORK) for start in range(400)]
    assert statistics.stdev(seconds) / statistics.mean(seconds) == pytest.approx(RESTART_CV, rel=0.15)


def test_noise_can_be_left_out() -> None:
    truth, settings = Truth(1, noise=False), settle()
    assert len({truth.cost(LLAMA, H100, settings, start).seconds(WORK) for start in range(5)}) == 1
    assert truth.level_noise(1, 1).apply([1.0, 2.0]) == [1.0, 2.0]


def test_breaking_under_load_happens_only_close_to_the_edge() -> None:
    broken = {0.80: 0, 0.96: 0}
    for utilization in broken:
        for seed in range(60):
            truth = Truth(seed)
            values = {"gpu_memory_utilization": utilization, "max_num_seqs": 1024}
            memory = planned(truth, **values)
            if memory.refusal is None:
                fragile = truth.fragility(memory, settle(**values), 1).running
                broken[utilization] += fragile is not None
                assert fragile is None or 2 <= fragile <= 1024
    assert broken[0.80] == 0
    assert 0 < broken[0.96] < 60


def test_a_start_takes_longer_for_larger_models_and_refusals_take_less() -> None:
    truth = Truth(2)
    settings = settle()
    small = planned(truth)
    large = plan(MODELS["Qwen3-32B"], GPUS["H200"], settings, truth.memory(None))
    assert truth.start_s(large, settings, 1) > truth.start_s(small, settings, 1) > truth.refusal_s(small)
    assert truth.refusal_s(small) > truth.refusal_s(None)


def _agreement(dtype: str, truth: Truth) -> float:
    plain, altered = settle(), settle(kv_cache_dtype=dtype)
    same = total = 0
    for number in range(12):
        one, two = (truth.greedy(f"prompt {number}", 12, settings).tokens for settings in (plain, altered))
        same += sum(a == b for a, b in zip(one, two, strict=True))
        total += len(one)
    return same / total


def test_altered_caches_agree_less_and_corrupt_ones_not_at_all() -> None:
    truth = Truth(4)
    assert _agreement("auto", truth) == 1
    assert _agreement("fp8", truth) > 0.5
    assert _agreement("fp8", truth) > _agreement("int8_per_token_head", truth)
    assert _agreement("int8_per_token_head", truth) < 0.05
