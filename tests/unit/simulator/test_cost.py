from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Value
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.cost import Roofline, StepWork
from tuner.simulator.settings import resolve

LLAMA, MIXTRAL = MODELS["Llama-3.1-8B"], MODELS["Mixtral-8x7B"]
H100, A100, L4 = GPUS["H100"], GPUS["A100-80"], GPUS["L4"]


def cost(model: Model = LLAMA, gpu: Gpu = H100, **values: Value) -> Roofline:
    return Roofline(model, gpu, resolve(values, {"max_model_len": 8192}, model, gpu, 8))


def decode(sequences: int, context: int = 500, drafted: int = 0) -> StepWork:
    return StepWork(decode_sequences=sequences, context_tokens=sequences * context, drafted=drafted)


def prefill(tokens: int) -> StepWork:
    return StepWork(prefill_tokens=tokens, prefill_sequences=1, prefill_pairs=tokens * tokens // 2)


def test_no_work_takes_no_time() -> None:
    assert cost().seconds(StepWork()) == 0


#: Model, GPU, sequences, output tokens per second as measured on vLLM 0.28-0.29 (Llama-3.1-8B; fp8 weights where told),
#: and 7.07 ms per token on one H100.
DECODING = [
    (LLAMA, A100, 1, 79.3),
    (LLAMA, A100, 8, 720.24),
    (LLAMA, H100, 1, 125.1),
    (LLAMA, H100, 1, 1 / 7.07e-3),
    (LLAMA, GPUS["H100-NVL"], 8, 1134.81),
    (replace(LLAMA, weight_bytes=1.0), GPUS["H100-NVL"], 8, 1741.25),
]


def test_decoding_is_as_fast_as_was_measured() -> None:
    errors = [
        abs(sequences / cost(model, gpu).seconds(decode(sequences, 300)) / measured - 1)
        for model, gpu, sequences, measured in DECODING
    ]
    assert sum(errors) / len(errors) < 0.08
    assert max(errors) < 0.16


@pytest.mark.parametrize(
    ("drafted", "accepted", "tpot_ms"),
    [(2, 2.36, 4.32), (3, 2.79, 4.09), (4, 3.08, 4.05), (5, 3.32, 4.13), (6, 3.46, 4.20), (7, 3.54, 4.29)],
)
def test_eagle_drafts_cost_what_was_measured(drafted: int, accepted: float, tpot_ms: float) -> None:
    """Llama-3.1-8B on one H100, batch 1: acceptance length and time per token for k drafted tokens."""
    engine = cost(speculative_method="eagle3", num_speculative_tokens=drafted)
    assert engine.seconds(decode(1, drafted=drafted)) / accepted * 1e3 == pytest.approx(tpot_ms, rel=0.1)


def test_drafting_pays_alone_and_not_in_a_crowd() -> None:
    plain, drafting = cost(), cost(speculative_method="eagle3", num_speculative_tokens=4)

    def gain(sequences: int) -> float:
        return 3.0 * plain.seconds(decode(sequences)) / drafting.seconds(decode(sequences, drafted=4))

    assert gain(1) > 1.5
    assert gain(512) < gain(64) < gain(1)


def test_small_batches_are_bound_by_memory_and_large_ones_by_arithmetic() -> None:
    engine = cost()
    assert engine.seconds(decode(8)) < 1.1 * engine.seconds(decode(1))
    per_token = [engine.seconds(prefill(tokens)) / tokens for tokens in (64, 512, 8192)]
    assert per_token[0] > per_token[1] > per_token[2]
    # 2 x parameters x tokens / (MFU x FLOPs), and attention on top.
    assert engine.seconds(prefill(8192)) == pytest.approx(2 * 7.5e9 * 8192 / (0.45 * 989e12), rel=0.2)


def test_longer_contexts_take_longer_and_half_as_much_in_fp8() -> None:
    plain, fp8 = cost(), cost(kv_cache_dtype="fp8")

    def reading(engine: Roofline) -> float:
        return engine.seconds(decode(64, 4000)) - engine.seconds(decode(64, 0))

    assert reading(plain) == pytest.approx(64 * 4000 * 131072 / (0.92 * 3.35e12), rel=1e-6)
    assert reading(fp8) == pytest.approx(reading(plain) / 2)


def test_more_gpus_are_faster_over_nvlink_than_over_pcie() -> None:
    work = decode(64)
    pcie = replace(H100, name="H100-PCIe")
    assert cost(tensor_parallel_size=4).seconds(work) < cost().seconds(work)
    assert cost(tensor_parallel_size=4).seconds(work) < cost(gpu=pcie, tensor_parallel_size=4).seconds(work)


def test_a_mixture_reads_more_experts_as_the_batch_grows() -> None:
    engine = cost(MIXTRAL, H100, tensor_parallel_size=2)
    assert engine.seconds(decode(8, 0)) > 2 * engine.seconds(decode(1, 0))
    assert engine.seconds(decode(64, 0)) < 1.3 * engine.seconds(decode(16, 0))


def test_eager_mode_costs_launches() -> None:
    assert cost(enforce_eager=True).seconds(decode(1)) > 1.3 * cost().seconds(decode(1))


def test_quantised_weights_read_faster() -> None:
    fp8 = cost(replace(LLAMA, weight_bytes=1.0), L4)
    assert 0.5 < fp8.seconds(decode(1)) / cost(LLAMA, L4).seconds(decode(1)) < 0.65


def test_admission_grows_with_the_prompt() -> None:
    assert cost().admission_s(4000) > 2 * cost().admission_s(10)
