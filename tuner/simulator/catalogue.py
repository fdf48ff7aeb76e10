"""What tuner knows of GPUs and models without asking anyone, and how their many spellings are read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu, Model

#: Memory is what vLLM logs (GiB), not the nominal size. Bandwidth and dense (not sparse) TFLOPs: NVIDIA's data sheets.
#: B200's memory is what PyTorch reports; A10G has A10's memory at less arithmetic.
GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        #   name         GiB    TB/s   bf16    fp8    compute capability
        Gpu("T4", 14.56, 0.32, 65.0, None, 7.5),
        Gpu("A10", 22.07, 0.6, 125.0, None, 8.6),
        Gpu("A10G", 22.07, 0.6, 70.0, None, 8.6),
        Gpu("L4", 22.04, 0.3, 121.0, 242.0, 8.9),
        Gpu("L40S", 44.42, 0.864, 362.0, 733.0, 8.9),
        Gpu("A100-40", 39.5, 1.555, 312.0, None, 8.0),
        Gpu("A100-80", 79.25, 2.039, 312.0, None, 8.0),
        Gpu("A100-80-PCIe", 79.25, 1.935, 312.0, None, 8.0),
        Gpu("H100", 79.19, 3.35, 989.0, 1978.0, 9.0),
        Gpu("H100-PCIe", 79.19, 2.0, 756.5, 1513.0, 9.0),
        Gpu("H100-NVL", 93.1, 3.9, 835.0, 1671.0, 9.0),
        Gpu("H200", 139.81, 4.8, 989.0, 1978.0, 9.0),
        Gpu("B200", 178.35, 7.7, 2250.0, 4500.0, 10.0),
    )
}

#: Shapes from the models' own config.json on Hugging Face.
MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        #     name             layers hidden heads kv  head  ffn    vocab   positions
        Model("Llama-3.1-8B", 32, 4096, 32, 8, 128, 14336, 128256, 131072),
        Model("Llama-3.1-70B", 80, 8192, 64, 8, 128, 28672, 128256, 131072),
        Model("Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, 128256, 131072, tied_embeddings=True),
        Model("Qwen3-8B", 36, 4096, 32, 8, 128, 12288, 151936, 40960),
        Model("Qwen3-32B", 64, 5120, 64, 8, 128, 25600, 151936, 40960),
        Model("Qwen3-30B-A3B", 48, 2048, 32, 4, 128, 768, 151936, 40960, experts=128, active_experts=8),
        Model("Mixtral-8x7B", 32, 4096, 32, 8, 128, 14336, 32000, 32768, experts=8, active_experts=2),
    )
}

# The first pattern found in a normalised name (upper case, words joined by "-") decides.
_GPU_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"A100.*80G?B?.*PCIE|A100-?PCIE.*80|A100-80-PCIE", "A100-80-PCIe"),
    (r"A100.*80", "A100-80"),
    (r"A100.*40|TESLA-A100$", "A100-40"),
    (r"H100.*PCIE", "H100-PCIe"),
    (r"H100.*NVL", "H100-NVL"),
    (r"H100(?!\d)", "H100"),
    (r"H200(?!\d|.*NVL)", "H200"),
    (r"(?<!G)B200(?!\d)", "B200"),
    (r"L40S(?!\w)", "L40S"),
    (r"(?:^|-)L4(?:-|$)", "L4"),
    (r"A10G", "A10G"),
    (r"(?:^|-)A10(?:-|$)", "A10"),
    (r"(?:^|-)T4(?:-|$)", "T4"),
)

_MODEL_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"(?:meta-)?llama-?3\.1-8b|r1-distill-llama-8b", "Llama-3.1-8B"),
    (r"(?:meta-)?llama-?3\.[13]-70b|r1-distill-llama-70b", "Llama-3.1-70B"),
    (r"llama-?3\.2-1b", "Llama-3.2-1B"),
    (r"qwen3-8b", "Qwen3-8B"),
    (r"qwen3-32b", "Qwen3-32B"),
    (r"qwen3-30b-a3b", "Qwen3-30B-A3B"),
    (r"mixtral-8x7b", "Mixtral-8x7B"),
)

# Bytes per weight by what a name or quantization_config says; 4 bit has a scale and a zero per group of 128.
_QUANTISATIONS: tuple[tuple[str, float], ...] = (
    (r"awq|gptq|int4|w4a16|4bit|mxfp4|nvfp4|fp4", 0.53),
    (r"fp8|w8a8|int8|8bit", 1.0),
)


def find_gpu(name: str) -> Gpu:
    """The GPU that a node label, `nvidia-smi` or a person calls `name` ("NVIDIA-H100-80GB-HBM3", "nvidia-l4", "A10G").

    Raises InvalidInput for what is not known, for a bare "A100" (two sizes) and for MIG slices.
    """
    words = re.sub(r"[\s_]+", "-", name.strip().upper())
    if "MIG-" in words:
        raise InvalidInput(
            f"gpu: {name!r} is a slice of a GPU; slices are not in the catalogue. Allowed: {_names(GPUS)}"
        )
    for pattern, found in _GPU_PATTERNS:
        if re.search(pattern, words):
            return GPUS[found]
    if "A100" in words:
        raise InvalidInput(f"gpu: {name!r} comes with 40 and with 80 GB; write A100-40 or A100-80")
    raise InvalidInput(f"gpu: {name!r} is not in the catalogue; allowed: {_names(GPUS)}")


def find_model(name: str) -> Model:
    """The model that an image, path or person calls `name` ("meta-llama/Llama-3.1-8B-Instruct", "...-FP8").

    Raises InvalidInput for what is not known: `model_from_config` reads any model's own config.json.
    """
    words = re.sub(r"[\s_]+", "-", name.strip().lower().rstrip("/").rsplit("/", 1)[-1])
    for pattern, found in _MODEL_PATTERNS:
        match = re.search(rf"(?:^|-)(?:{pattern})(?:-|$)", words)
        if match:
            rest = words[match.end() - 1 :]
            weight_bytes = next((size for mark, size in _QUANTISATIONS if re.search(mark, rest)), None)
            return replace(MODELS[found], weight_bytes=weight_bytes)
    raise InvalidInput(
        f"model: {name!r} is not in the catalogue; allowed: {_names(MODELS)}, or the path of a Hugging Face config.json"
    )


def model_from_config(config: Mapping[str, Any] | str | Path, name: str | None = None) -> Model:
    """The shape of a decoder-only transformer from its Hugging Face config.json (a mapping, a file or its folder).

    Raises InvalidInput naming the fields that are missing or wrong, or why this architecture can't be planned.
    """
    where = "config.json"
    if not isinstance(config, Mapping):
        path = Path(config)
        path = path / "config.json" if path.is_dir() else path
        where, config = str(path), _read(path)
    text = config.get("text_config")
    if isinstance(text, Mapping):
        config = {**config, **text}
    _refuse_other_architectures(config, where)
    fields = _Fields(config, where)
    heads = fields.integer("num_attention_heads")
    hidden = fields.integer("hidden_size")
    experts = fields.integer("num_local_experts", "num_experts", "n_routed_experts", default=0)
    intermediate = fields.integer("moe_intermediate_size", "intermediate_size") if experts else None
    latent = fields.integer("kv_lora_rank", default=0)
    rope = fields.integer("qk_rope_head_dim", default=0)
    model = Model(
        name=name or str(config.get("_name_or_path") or config.get("model_type") or "model"),
        layers=fields.integer("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=fields.integer("num_key_value_heads", default=heads),
        head_dim=fields.integer("head_dim", "v_head_dim", default=max(1, hidden // max(1, heads))),
        intermediate=intermediate or fields.integer("intermediate_size"),
        vocab=fields.integer("vocab_size"),
        max_positions=fields.integer("max_position_embeddings"),
        dtype_bytes=_dtype_bytes(config, fields),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        experts=experts,
        active_experts=fields.integer("num_experts_per_tok") if experts else 0,
        shared_intermediate=_shared(fields, intermediate or 0),
        latent=latent + rope if latent else 0,
        weight_bytes=_weight_bytes(config),
    )
    fields.finish()
    return model


def _names(catalogue: Mapping[str, object]) -> str:
    return ", ".join(catalogue)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InvalidInput(f"{path}: is not JSON: {error}") from error
    if not isinstance(config, Mapping):
        raise InvalidInput(f"{path}: must be a JSON object, as Hugging Face's config.json is")
    return config


def _refuse_other_architectures(config: Mapping[str, Any], where: str) -> None:
    reasons = {
        "is_encoder_decoder": "is an encoder-decoder",
        "ssm_cfg": "is a state space model",
        "linear_num_key_heads": "mixes linear attention with full attention",
        "mamba_d_state": "mixes state space layers with attention",
        "state_size": "is a state space model",
    }
    for field, reason in reasons.items():
        if config.get(field):
            raise InvalidInput(
                f"{where}: the model {reason} ({field}); only decoders with full attention can be planned"
            )
    kinds = set(config.get("layer_types") or ()) - {"full_attention"}
    if kinds:
        raise InvalidInput(
            f"{where}: layer_types has {', '.join(sorted(kinds))}; only decoders with full attention can be planned"
        )


class _Fields:
    """Reads positive integers and remembers what was wrong, so that all of it is told at once."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self._config, self._where = config, where
        self.problems: list[str] = []

    def integer(self, *names: str, default: int | None = None) -> int:
        for name in names:
            value = self._config.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                self.problems.append(f"{self._where}: {name}: {value!r} must be a whole number from 1 on")
                return 1
            return value
        if default is None:
            self.problems.append(f"{self._where}: {' or '.join(names)} is missing; is this a model's config.json?")
            return 1
        return default

    def finish(self) -> None:
        if self.problems:
            raise InvalidInput(*self.problems)


def _dtype_bytes(config: Mapping[str, Any], fields: _Fields) -> float:
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16").removeprefix("torch.")
    sizes = {"bfloat16": 2.0, "float16": 2.0, "half": 2.0, "float32": 2.0, "float": 2.0}  # vLLM loads float32 as 16 bit
    if dtype not in sizes:
        fields.problems.append(f"config.json: torch_dtype: {dtype!r}; allowed: {', '.join(sizes)}")
        return 2.0
    return sizes[dtype]


def _shared(fields: _Fields, expert: int) -> int:
    width = fields.integer("shared_expert_intermediate_size", default=0)
    return width or fields.integer("n_shared_experts", default=0) * expert


def _weight_bytes(config: Mapping[str, Any]) -> float | None:
    quantisation = config.get("quantization_config")
    if not isinstance(quantisation, Mapping):
        return None
    text = json.dumps(quantisation, default=str).lower()
    if quantisation.get("bits") == 4 or quantisation.get("load_in_4bit") or '"num_bits": 4' in text:
        return 0.53
    if quantisation.get("bits") == 8 or '"num_bits": 8' in text:
        return 1.0
    method = str(quantisation.get("quant_method", "")).lower()
    return next((size for mark, size in _QUANTISATIONS if re.search(mark, method)), None)
