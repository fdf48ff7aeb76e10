"""What is not worth a start, and how real starts change that."""

import pytest

from tests.unit.search.targets import H100, LLAMA, cpu_target, target, whole_space
from tuner.core.cause import Cause, Failure
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value
from tuner.search import Screen, Space, load_space
from tuner.simulator.catalogue import find_gpu, find_model

SPACE = whole_space()


def screen(space: Space = SPACE, gpu: str = "H100", model: str = "Llama-3.1-8B", max_model_len: int = 8192) -> Screen:
    fixed: dict[str, Value] = {"max_model_len": max_model_len}
    return Screen(space, find_model(model), find_gpu(gpu), 1, fixed, "0.30.0")


def blind(space: Space = SPACE) -> Screen:
    return Screen(space)


def candidate(**values: Value) -> Candidate:
    return SPACE.repair(values)


OOM = Failure(Cause.GPU_OOM_AT_START, "CUDA out of memory occurred when warming up sampler with 1024 dummy requests.")


def test_what_fits_is_started() -> None:
    assert screen().check(candidate(max_num_seqs=256, gpu_memory_utilization=0.9)) is None


def test_what_can_never_fit_is_turned_down_with_its_cause() -> None:
    failure = screen(gpu="L4", model="Qwen3-32B").check(candidate(gpu_memory_utilization=0.9))
    assert failure is not None
    assert failure.cause in (Cause.GPU_OOM_AT_START, Cause.KV_CACHE_TOO_SMALL)
    assert failure.message.startswith("expected: ")


def test_close_to_a_cliff_it_is_run() -> None:
    """Around the smallest utilisation that leaves room for one request there is a band that is not turned down."""
    judge = screen(gpu="L4", max_model_len=20_000)
    told = {}
    for share in range(700, 960, 5):
        one = Candidate.of({**candidate(), "gpu_memory_utilization": share / 1000})
        expected = judge.expect(one)
        assert expected is not None
        told[share] = (expected.refusal is not None, judge.check(one) is not None)
    assert (True, True) in told.values()  # far from the cliff: refused
    assert (True, False) in told.values()  # refused by a hair: run it
    assert (False, False) in told.values()
    assert (False, True) not in told.values()


def test_unknown_gpu_turns_nothing_down() -> None:
    assert blind().check(candidate(max_num_seqs=1024, gpu_memory_utilization=0.96)) is None


def test_one_deterministic_failure_turns_down_all_that_ask_for_more() -> None:
    judge = blind()
    judge.learn(candidate(max_num_seqs=512, gpu_memory_utilization=0.94), OOM)
    greedier = judge.check(candidate(max_num_seqs=768, gpu_memory_utilization=0.94))
    assert greedier is not None
    assert greedier.cause is Cause.GPU_OOM_AT_START
    assert "asked for no more" in greedier.message
    assert judge.check(candidate(max_num_seqs=768, gpu_memory_utilization=0.92)) is None
    assert judge.check(candidate(max_num_seqs=256, gpu_memory_utilization=0.94)) is None


def test_failure_under_load_needs_a_second_one() -> None:
    judge = blind()
    under_load = Failure(Cause.GPU_OOM_UNDER_LOAD, "CUDA out of memory")
    judge.learn(candidate(max_num_seqs=512, gpu_memory_utilization=0.94), under_load)
    worse = candidate(max_num_seqs=1024, gpu_memory_utilization=0.96)
    assert judge.check(worse) is None
    judge.learn(candidate(max_num_seqs=768, gpu_memory_utilization=0.94), under_load)
    assert judge.check(worse) is not None


def test_memory_that_somebody_else_held_needs_a_second_failure() -> None:
    judge = blind()
    message = "Free memory on device cuda:0 (60/79.2 GiB) on startup is less than desired GPU memory utilization"
    taken = Failure(Cause.GPU_OOM_AT_START, message)
    judge.learn(candidate(gpu_memory_utilization=0.9), taken)
    assert judge.check(candidate(gpu_memory_utilization=0.92)) is None
    judge.learn(candidate(gpu_memory_utilization=0.92), taken)
    assert judge.check(candidate(gpu_memory_utilization=0.94)) is not None


def test_small_cache_turns_down_less_memory_but_not_more() -> None:
    judge = blind()
    small = Failure(Cause.KV_CACHE_TOO_SMALL, "To serve at least one request", overshoot=0.2)
    judge.learn(candidate(gpu_memory_utilization=0.86), small)
    assert judge.check(candidate(gpu_memory_utilization=0.82)) is not None
    assert judge.check(candidate(gpu_memory_utilization=0.9)) is None
    assert judge.check(candidate(gpu_memory_utilization=0.82, kv_cache_dtype="fp8")) is None


def test_a_start_that_worked_outweighs_failures_and_planner() -> None:
    judge = screen(gpu="L4", model="Qwen3-32B")
    one = candidate(gpu_memory_utilization=0.96, max_num_seqs=16)
    assert judge.check(one) is not None
    judge.learn(one, EngineFacts("vllm", settings={}))
    assert judge.check(one) is None
    oom = blind()
    oom.learn(candidate(max_num_seqs=256, gpu_memory_utilization=0.9), OOM)
    oom.learn(candidate(max_num_seqs=1024, gpu_memory_utilization=0.96, max_num_batched_tokens=32768), None)
    assert oom.check(candidate(max_num_seqs=512, gpu_memory_utilization=0.94)) is None


def test_log_of_a_start_calibrates_the_planner() -> None:
    judge = screen()
    one = candidate(max_num_seqs=256, gpu_memory_utilization=0.9, max_num_batched_tokens=2048)
    guess = judge.expect(one)
    assert guess is not None
    facts = EngineFacts("vllm", "0.30.0", settings=dict(one), kv_cache_tokens=400_000, total_gib=79.19)
    judge.learn(one, facts)
    sharper = judge.expect(one)
    assert sharper is not None
    assert abs(sharper.kv_tokens - 400_000) < 64 < abs(guess.kv_tokens - 400_000)
    assert judge.constants is not None
    again = Screen(SPACE, LLAMA, H100, 1, {"max_model_len": 8192}, "0.30.0", judge.constants)
    assert again.expect(one) == sharper


def test_baseline_is_calibrated_by_what_its_log_says_of_the_defaults() -> None:
    """The baseline names nothing; the settings that its log reports are those that its pool belongs to."""
    judge = screen()
    settings: dict[str, Value] = {"max_num_seqs": 1024, "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.8}
    spelt = Candidate.of({**candidate(), **settings})
    expected = judge.expect(spelt)
    assert expected is not None
    judge.learn(Candidate(), EngineFacts("vllm", settings=settings, kv_cache_tokens=expected.kv_tokens))
    after = judge.expect(spelt)
    assert after is not None
    assert abs(after.kv_tokens / expected.kv_tokens - 1) < 0.001


def test_value_that_a_refusal_names_is_not_tried_again() -> None:
    space = load_space("vllm", cpu_target(), {"block_size": {"choices": [16, 32, 64]}})
    judge = blind(space)
    refused = Failure(Cause.CRASH_AT_START, "ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).")
    judge.learn(space.repair({"block_size": 16, "max_num_seqs": 64}), refused)
    told = judge.check(space.repair({"block_size": 16, "max_num_seqs": 8}))
    assert told is not None
    assert told.message.startswith("block_size=16 was refused before")
    assert judge.check(space.repair({"block_size": 64, "max_num_seqs": 8})) is None


def test_a_crash_that_names_no_knob_turns_nothing_down() -> None:
    judge = blind()
    judge.learn(candidate(max_num_seqs=512), Failure(Cause.CRASH_AT_START, "Segmentation fault"))
    assert judge.check(candidate(max_num_seqs=768)) is None


def test_infrastructure_teaches_nothing() -> None:
    judge = blind()
    for _ in range(3):
        judge.learn(candidate(), Failure(Cause.UNSCHEDULABLE, "0/3 nodes are available"))
    assert judge.check(candidate(max_num_seqs=1024)) is None


def test_fp8_on_a_gpu_without_it_is_refused_by_the_planner() -> None:
    space = whole_space(target(gpu=find_gpu("A100-80"), baseline={"kv_cache_dtype": "fp8"}))
    failure = screen(space, gpu="A100-80").check(space.repair({"kv_cache_dtype": "fp8"}))
    assert failure is not None
    assert "fp8" in failure.message


RAN = EngineFacts("vllm", kv_cache_tokens=300_000)


@pytest.mark.parametrize(
    ("baseline", "max_model_len"),
    [
        ({}, 262_144),  # with YaRN; the model's config.json says 131,072
        ({"kv_cache_dtype": "turboquant_4bit_nc"}, 8192),
        ({"speculative_method": "deepseek_mtp", "num_speculative_tokens": 1}, 8192),
        ({"speculative_method": "mlp_speculator", "num_speculative_tokens": 1}, 8192),
        ({"block_size": 8}, 8192),
    ],
)
def test_what_a_start_has_disproved_is_not_held_against_the_next_candidate(
    baseline: dict[str, Value], max_model_len: int
) -> None:
    judge = screen(max_model_len=max_model_len)
    judge.learn(Candidate.of(baseline), RAN)
    assert judge.check(Candidate.of({**baseline, "max_num_seqs": 128})) is None


def test_values_that_the_simulator_does_not_know_are_for_the_engine_to_judge() -> None:
    judge = screen()
    assert judge.check(Candidate.of(kv_cache_dtype="nvfp4")) is None
    assert judge.expect(Candidate.of(kv_cache_dtype="nvfp4")) is None
    assert judge.check(Candidate.of(max_num_seqs=4096, max_num_batched_tokens=512)) is not None


def test_a_longer_context_than_the_models_own_is_planned_once_it_was_served() -> None:
    judge = screen(max_model_len=262_144)
    assert judge.expect(candidate()) is None
    judge.learn(candidate(), RAN)
    assert judge.expect(candidate()) is not None
    refused = judge.check(Candidate.of(max_num_seqs=4096, max_num_batched_tokens=512))
    assert refused is not None
    assert refused.cause is Cause.BAD_FLAG
