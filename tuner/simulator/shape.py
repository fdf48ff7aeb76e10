"""What follows from a model's shape alone: parameters, bytes of weights, bytes of KV cache per token."""

from __future__ import annotations

from tuner.core.hardware import Model

GIB = 2**30

#: Bytes per cached value by kv_cache_dtype; "auto" is the model's own type.
KV_BYTES = {
    "bfloat16": 2.0,
    "float16": 2.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "int8_per_token_head": 1.0,
}
#: int8_per_token_head keeps one 4-byte scale per token, head and tensor: 67,584 B where bare int8 would be 65,536 B
#: (Llama-3.1-8B).
_INT8_SCALE_BYTES = 4.0


def attention_parameters(model: Model) -> int:
    """Weights of one layer's attention projections. Latent attention counts its down- and up-projections."""
    queries_and_output = 2 * model.hidden * model.heads * model.head_dim
    if model.latent:
        return queries_and_output + model.hidden * model.latent + 2 * model.latent * model.heads * model.head_dim
    return queries_and_output + 2 * model.hidden * model.kv_heads * model.head_dim


def expert_parameters(model: Model) -> int:
    """Weights of one feed-forward block (gate, up, down): of one expert in a mixture."""
    return 3 * model.hidden * model.intermediate


def linear_parameters(model: Model, experts: float | None = None) -> float:
    """Weights of all layers' matrices, with `experts` experts per layer (None: all there are)."""
    if not model.experts:
        feed_forward: float = expert_parameters(model)
    else:
        router = model.hidden * model.experts
        shared = 3 * model.hidden * model.shared_intermediate
        count = model.experts if experts is None else experts
        feed_forward = count * expert_parameters(model) + shared + router
    return model.layers * (attention_parameters(model) + feed_forward)


def embedding_parameters(model: Model) -> int:
    """Weights of the embedding and of the output head (one matrix where tied)."""
    return model.vocab * model.hidden * (1 if model.tied_embeddings else 2)


def linear_bytes_per_weight(model: Model) -> float:
    """Bytes per weight of the layers' matrices."""
    return model.weight_bytes if model.weight_bytes is not None else model.dtype_bytes


def weight_bytes(model: Model) -> float:
    """Bytes of all weights; embeddings and head are not quantised."""
    return linear_parameters(model) * linear_bytes_per_weight(model) + embedding_parameters(model) * model.dtype_bytes


def kv_bytes_per_token(model: Model, kv_cache_dtype: str, tensor_parallel_size: int) -> float:
    """Bytes one cached token takes on one GPU, all layers.

    Grouped-query attention: 2 x layers x kv heads x head size x bytes / TP, where heads are replicated once TP exceeds
    their number. Latent attention: layers x latent x bytes, not divided.
    """
    value = KV_BYTES.get(kv_cache_dtype, model.dtype_bytes)
    if model.latent:
        return model.layers * model.latent * value
    heads = max(1.0, model.kv_heads / tensor_parallel_size)
    scale = _INT8_SCALE_BYTES if kv_cache_dtype == "int8_per_token_head" else 0.0
    return 2 * model.layers * heads * (model.head_dim * value + scale)
