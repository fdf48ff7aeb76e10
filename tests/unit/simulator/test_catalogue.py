from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuner.core.errors import InvalidInput
from tuner.simulator import shape
from tuner.simulator.catalogue import GPUS, MODELS, find_gpu, find_model, model_from_config
from tuner.simulator.shape import GIB


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("nvidia-h100-mega-80gb", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA-A100-SXM4-80GB", "A100-80"),
        ("NVIDIA-A100-SXM4-40GB", "A100-40"),
        ("A100-PCIE-40GB", "A100-40"),
        ("NVIDIA A100 80GB PCIe", "A100-80-PCIe"),
        ("nvidia-tesla-a100", "A100-40"),
        ("nvidia-a100-80gb", "A100-80"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA-A10", "A10"),
        ("NVIDIA-L4", "L4"),
        ("nvidia-l4", "L4"),
        ("NVIDIA-L40S", "L40S"),
        ("NVIDIA-H200", "H200"),
        ("nvidia-h200-141gb", "H200"),
        ("NVIDIA-B200", "B200"),
        ("Tesla T4", "T4"),
        ("NVIDIA-A100-SXM4-80GB-SHARED", "A100-80"),
    ],
)
def test_gpus_are_found_by_their_labels(label: str, name: str) -> None:
    assert find_gpu(label) is GPUS[name]


@pytest.mark.parametrize("name", list(GPUS))
def test_gpus_are_found_by_their_own_names(name: str) -> None:
    assert find_gpu(name) is GPUS[name]
    assert find_gpu(name.lower()) is GPUS[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "slice"),
        ("A100", "A100-40 or A100-80"),
        ("RTX 4090", "allowed: T4, A10"),
        ("NVIDIA-L40", "allowed"),
        ("GB200", "allowed"),
        ("h1000", "allowed"),
        ("B2000", "allowed"),
        ("", "allowed"),
    ],
)
def test_unknown_gpus_are_refused_with_what_is_allowed(name: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        find_gpu(name)


@pytest.mark.parametrize(
    ("text", "name", "weight_bytes"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B", None),
        ("/models/Meta-Llama-3.1-8B-Instruct/", "Llama-3.1-8B", None),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8", "Llama-3.1-8B", 1.0),
        ("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "Llama-3.1-70B", 0.53),
        ("meta-llama/Llama-3.3-70B-Instruct", "Llama-3.1-70B", None),
        ("Qwen/Qwen3-8B", "Qwen3-8B", None),
        ("Qwen/Qwen3-32B-FP8", "Qwen3-32B", 1.0),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B", None),
        ("qwen3-8b", "Qwen3-8B", None),
    ],
)
def test_models_are_found_by_their_names(text: str, name: str, weight_bytes: float | None) -> None:
    model = find_model(text)
    assert model.name == name
    assert model.weight_bytes == weight_bytes


@pytest.mark.parametrize("text", ["gpt2", "Llama-3.1-80B", "Qwen3-8B5", "meta-llama/Llama-2-7b-hf", ""])
def test_unknown_models_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"Llama-3\.1-8B, .*config\.json"):
        find_model(text)


@pytest.mark.parametrize(
    ("name", "billions"),
    # As the models' own cards state them.
    [
        ("Llama-3.1-8B", 8.03),
        ("Llama-3.1-70B", 70.6),
        ("Qwen3-8B", 8.2),
        ("Qwen3-32B", 32.8),
        ("Mixtral-8x7B", 46.7),
        ("Qwen3-30B-A3B", 30.5),
        ("Llama-3.2-1B", 1.24),
    ],
)
def test_shapes_add_up_to_the_models_sizes(name: str, billions: float) -> None:
    model = MODELS[name]
    parameters = shape.linear_parameters(model) + shape.embedding_parameters(model)
    assert parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_kv_bytes_follow_heads_and_type() -> None:
    llama = MODELS["Llama-3.1-8B"]
    assert shape.kv_bytes_per_token(llama, "auto", 1) == 131072
    assert shape.kv_bytes_per_token(llama, "fp8", 1) == 65536
    assert shape.kv_bytes_per_token(llama, "int8_per_token_head", 1) == 67584
    assert shape.kv_bytes_per_token(llama, "auto", 4) == 32768
    assert shape.kv_bytes_per_token(llama, "auto", 16) == 16384  # heads are replicated beyond 8


def _llama_config(**changes: Any) -> dict[str, Any]:
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
    }
    return {name: value for name, value in {**config, **changes}.items() if value is not None}


def test_a_config_gives_the_catalogues_shape(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(_llama_config()))
    for source in (_llama_config(), file, str(tmp_path)):
        assert model_from_config(source, name="Llama-3.1-8B") == MODELS["Llama-3.1-8B"]


def test_a_mixture_with_latent_attention_is_read() -> None:
    # DeepSeek-V2-Lite, whose KV cache takes 31,104 bytes per token: 27 x (512 + 64) x 2.
    model = model_from_config(
        _llama_config(
            hidden_size=2048,
            num_attention_heads=16,
            num_hidden_layers=27,
            intermediate_size=10944,
            moe_intermediate_size=1408,
            n_routed_experts=64,
            num_experts_per_tok=6,
            n_shared_experts=2,
            kv_lora_rank=512,
            qk_rope_head_dim=64,
            vocab_size=102400,
        )
    )
    assert (model.experts, model.active_experts, model.intermediate, model.shared_intermediate) == (64, 6, 1408, 2816)
    assert shape.kv_bytes_per_token(model, "auto", 1) == shape.kv_bytes_per_token(model, "auto", 4) == 31104
    assert shape.weight_bytes(model) / GIB == pytest.approx(29.43, rel=0.05)


@pytest.mark.parametrize(
    ("quantisation", "weight_bytes"),
    [
        ({"quant_method": "awq", "bits": 4}, 0.53),
        ({"quant_method": "fp8"}, 1.0),
        ({"quant_method": "gptq", "bits": 8}, 1.0),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}, 0.53),
    ],
)
def test_quantised_configs_are_read(quantisation: dict[str, Any], weight_bytes: float) -> None:
    assert model_from_config(_llama_config(quantization_config=quantisation)).weight_bytes == weight_bytes


def test_every_fault_of_a_config_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        model_from_config(_llama_config(hidden_size=None, num_hidden_layers="32", vocab_size=0, torch_dtype="int3"))
    assert len(caught.value.problems) == 4
    assert any("hidden_size is missing" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    "changes",
    [{"is_encoder_decoder": True}, {"mamba_d_state": 128}, {"layer_types": ["full_attention", "sliding_attention"]}],
)
def test_other_architectures_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="full attention"):
        model_from_config(_llama_config(**changes))


def test_unreadable_configs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be read"):
        model_from_config(tmp_path / "none.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match="is not JSON"):
        model_from_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InvalidInput, match="must be a JSON object"):
        model_from_config(tmp_path)
