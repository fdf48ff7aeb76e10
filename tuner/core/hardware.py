"""What an engine runs on and what it serves, as far as anyone could tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One accelerator type. Memory is what the engine reports (GiB), not the nominal size; None: unknown."""

    name: str
    memory_gib: float
    bandwidth_tb_s: float
    bf16_tflops: float
    fp8_tflops: float | None
    compute_capability: float  # 8.0 for A100, 9.0 for H100


@dataclass(frozen=True)
class Model:
    """The shape of a decoder-only transformer, as in a Hugging Face config.json."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    dtype_bytes: float = 2.0
    tied_embeddings: bool = False
    experts: int = 0  # 0: dense; otherwise `intermediate` is the width of one expert
    active_experts: int = 0
    shared_intermediate: int = 0  # width of the experts that every token passes
    latent: int = 0  # MLA: values cached per token and layer (kv_lora_rank + qk_rope_head_dim); 0: keys and values
    weight_bytes: float | None = None  # per weight of quantised linear layers; None: dtype_bytes


@dataclass(frozen=True)
class EngineFacts:
    """What a running engine said of itself, by metrics and start-up log; None where it did not say.

    `settings` are resolved values by knob name ("the default" is a number here). Memory terms are in GiB.
    """

    engine: str
    version: str | None = None
    model: str | None = None
    settings: dict[str, bool | int | float | str] | None = None
    kv_cache_tokens: int | None = None
    weights_gib: float | None = None
    activation_gib: float | None = None
    non_torch_gib: float | None = None
    graphs_gib: float | None = None
    kv_cache_gib: float | None = None
    total_gib: float | None = None
