"""The memory planner: what vLLM makes of a GPU's memory, and where it refuses to start.

KV bytes = utilisation x total - weights - activation peak - non-torch [- CUDA graphs, since 0.21]   (vLLM V1)

The identity holds within 0.02 GiB on public start-up logs; the terms are estimated here and learnt from a log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tuner.core.cause import Cause, Failure
from tuner.core.hardware import EngineFacts, Gpu, Model
from tuner.simulator import shape
from tuner.simulator.settings import Settings, version_tuple
from tuner.simulator.shape import GIB

#: A prediction closer than this share of the GPU's memory to a cliff is not certain.
UNCERTAINTY = 0.03


@dataclass(frozen=True)
class MemoryConstants:
    """Constants of one engine version, and what a start-up log corrected. GiB and bytes.

    Fits on public logs of vLLM 0.11-0.29 (mostly H100): `logits_bytes` per max_num_seqs x vocabulary at the profiling
    run's end; `hidden_copies` and `mlp_copies` of the widest layer's activations per batched token;
    `sampler_bytes` per max_num_seqs x vocabulary for the sampler's warm-up, which comes after the pool was sized.
    """

    logits_bytes: float = 14.0
    hidden_copies: float = 5.0
    mlp_copies: float = 3.0
    retained_copies: float = 2.5  # hidden states alive while logits are computed
    non_torch_gib: float = 0.25
    non_torch_parallel_gib: float = 2.1
    graph_gib: float = 0.4
    graph_layer_gib: float = 0.016
    graphs_in_budget: bool = True  # since 0.21 the estimate is taken off the pool
    context_gib: float = 0.5  # CUDA context and driver: never free, not even at start
    sampler_bytes: float = 27.0
    weights_factor: float = 1.0
    activation_factor: float = 1.0
    graphs_factor: float = 1.0
    residual_gib: float = 0.0  # what the terms can't explain of a logged pool
    total_gib: float | None = None  # None: the catalogue's figure


@dataclass(frozen=True)
class MemoryPlan:
    """What one start makes of the memory of each GPU. All sizes in GiB.

    `kv_tokens` counts whole blocks (0 where nothing is left); `max_concurrency` is kv_tokens / max_model_len.
    `refusal` is the first start-up refusal, or None. `margin` is the distance to the nearest cliff as a share of
    `total_gib`, negative beyond it; `certain` is False close to a cliff: run it.
    """

    total_gib: float
    context_gib: float
    requested_gib: float
    weights_gib: float
    activation_gib: float
    non_torch_gib: float
    graphs_gib: float
    kv_gib: float
    kv_bytes_per_token: float
    kv_tokens: int
    max_concurrency: float
    needed_gib: float  # of KV cache for one request of max_model_len
    headroom_gib: float  # left for the sampler's warm-up after everything else
    sampler_gib: float
    refusal: Failure | None
    margin: float
    certain: bool


def constants_for(version: str | None) -> MemoryConstants:
    """What is known of a vLLM version before any of its logs was seen."""
    known = version_tuple(version)
    constants = MemoryConstants(graphs_in_budget=known >= (0, 21))
    if known < (0, 17):
        # Logits were kept in more copies: 2.7 times the peak (0.11-0.16).
        constants = replace(constants, logits_bytes=38.0, non_torch_gib=0.13, non_torch_parallel_gib=0.55)
    return constants


def plan(model: Model, gpu: Gpu, settings: Settings, constants: MemoryConstants | None = None) -> MemoryPlan:
    """Lay out one GPU's memory for `settings`. Never raises: refusals are part of the plan."""
    c = constants or constants_for(settings.version)
    total = c.total_gib if c.total_gib is not None else gpu.memory_gib
    requested = settings.gpu_memory_utilization * total
    size = settings.tensor_parallel_size
    weights = weights_gib(model, settings) * c.weights_factor
    activation = activation_gib(model, settings, c) * c.activation_factor
    non_torch = c.non_torch_gib if size == 1 else c.non_torch_parallel_gib
    graphs = graphs_gib(model, settings, c) * c.graphs_factor
    kv = requested - weights - activation - non_torch - c.residual_gib - (graphs if c.graphs_in_budget else 0.0)
    per_token = kv_bytes(model, settings)
    kv, tokens = _pool(kv, per_token, settings)
    blocks_needed = -(-settings.max_model_len // settings.block_size)
    needed = blocks_needed * settings.block_size * per_token / GIB
    outside = total - requested - c.context_gib - (0.0 if c.graphs_in_budget else graphs)
    draft = MemoryPlan(
        total_gib=total,
        context_gib=c.context_gib,
        requested_gib=requested,
        weights_gib=weights,
        activation_gib=activation,
        non_torch_gib=non_torch,
        graphs_gib=graphs,
        kv_gib=kv,
        kv_bytes_per_token=per_token,
        kv_tokens=tokens,
        max_concurrency=tokens / settings.max_model_len,
        needed_gib=needed,
        headroom_gib=outside + activation,
        sampler_gib=c.sampler_bytes * settings.max_num_seqs * model.vocab / GIB,
        refusal=None,
        margin=0.0,
        certain=True,
    )
    refusal, margin = _cliffs(draft, settings)
    return replace(draft, refusal=refusal, margin=margin, certain=abs(margin) >= UNCERTAINTY)


def calibrate(
    constants: MemoryConstants, facts: EngineFacts, settings: Settings, model: Model, gpu: Gpu
) -> MemoryConstants:
    """Learn from one start-up log: each term that the engine printed replaces the estimate at these settings.

    What the printed terms leave unexplained of the printed pool is kept as a residual. Terms that were not printed stay
    as they were. `settings` must be those that the log belongs to.
    """
    learnt = constants
    if facts.total_gib:
        learnt = replace(learnt, total_gib=facts.total_gib)
    raw = replace(learnt, weights_factor=1.0, activation_factor=1.0, graphs_factor=1.0, residual_gib=0.0)
    guess = plan(model, gpu, settings, raw)
    if facts.weights_gib:
        learnt = replace(learnt, weights_factor=facts.weights_gib / guess.weights_gib)
    if facts.activation_gib:
        learnt = replace(learnt, activation_factor=facts.activation_gib / guess.activation_gib)
    if facts.graphs_gib and guess.graphs_gib:
        learnt = replace(learnt, graphs_factor=facts.graphs_gib / guess.graphs_gib)
    if facts.non_torch_gib is not None:
        if settings.tensor_parallel_size == 1:
            learnt = replace(learnt, non_torch_gib=facts.non_torch_gib)
        else:
            learnt = replace(learnt, non_torch_parallel_gib=facts.non_torch_gib)
    pool = facts.kv_cache_gib
    if facts.kv_cache_tokens:  # finer than the pool in GiB, which is printed with two digits
        pool = facts.kv_cache_tokens * guess.kv_bytes_per_token / GIB
    if pool is None or settings.kv_cache_memory_bytes:
        return learnt
    expected = plan(model, gpu, settings, replace(learnt, residual_gib=0.0))
    return replace(learnt, residual_gib=expected.kv_gib - pool)


def weights_gib(model: Model, settings: Settings) -> float:
    """Weights on one GPU: the model's share, and a drafter's."""
    target = shape.weight_bytes(model) / GIB
    layer = shape.linear_parameters(model) / model.layers * model.dtype_bytes / GIB
    if settings.speculative_method == "draft_model":
        target *= 1 + _DRAFT_WEIGHTS
    elif settings.speculative_method in _HEADS:
        target += layer
    return target / settings.tensor_parallel_size


def activation_gib(model: Model, settings: Settings, constants: MemoryConstants) -> float:
    """Peak of the profiling run: the larger of the widest layer at a full batch and the logits at full concurrency."""
    tokens, size = settings.max_num_batched_tokens, settings.tensor_parallel_size
    width = model.dtype_bytes * tokens
    hidden = width * model.hidden
    experts = model.active_experts * (2 * model.intermediate / size + model.hidden) if model.experts else 0.0
    feed_forward = constants.mlp_copies * (0 if model.experts else model.intermediate) / size
    layer = hidden * constants.hidden_copies + width * (feed_forward + experts)
    logits = constants.logits_bytes * settings.max_num_seqs * model.vocab + hidden * constants.retained_copies
    return max(layer, logits) / GIB


def graphs_gib(model: Model, settings: Settings, constants: MemoryConstants) -> float:
    """CUDA graphs: by layers, and by how many batch sizes are captured (51, up to 512, at 256 sequences and more)."""
    if settings.enforce_eager:
        return 0.0
    largest = min(512, 2 * settings.max_num_seqs)
    sizes = 3 + min(largest, 256) / 8 + max(0, largest - 256) / 16
    return (constants.graph_gib + constants.graph_layer_gib * model.layers) * min(1.0, sizes / 51)


def kv_bytes(model: Model, settings: Settings) -> float:
    """Bytes of KV cache per token on one GPU, with a drafter's own."""
    target = shape.kv_bytes_per_token(model, settings.kv_cache_dtype, settings.tensor_parallel_size)
    if settings.speculative_method == "draft_model":
        return target * (1 + _DRAFT_KV)
    if settings.speculative_method in _HEADS:
        return target * (1 + 1 / model.layers)
    return target


# Llama-3.2-1B beside Llama-3.1-8B: 2.32 GiB beside 15.0, and 163,840 instead of 131,072 bytes per token.
_DRAFT_WEIGHTS, _DRAFT_KV = 0.155, 0.25
_HEADS = ("eagle", "eagle3", "mtp", "medusa")


def _pool(kv_gib: float, per_token: float, settings: Settings) -> tuple[float, int]:
    """The pool's size and its tokens in whole blocks; flags that set either of them bypass the identity."""
    if settings.kv_cache_memory_bytes:
        kv_gib = settings.kv_cache_memory_bytes / GIB
    block = per_token * settings.block_size
    blocks = max(0, math.floor(kv_gib * GIB / block))
    if settings.num_gpu_blocks_override:
        blocks = settings.num_gpu_blocks_override
    return kv_gib, blocks * settings.block_size


def _cliffs(p: MemoryPlan, settings: Settings) -> tuple[Failure | None, float]:
    """The first refusal in the order in which vLLM meets them, and the smallest slack as a share of the memory."""
    blocks = p.kv_tokens // settings.block_size
    too_short = blocks - 1 < -(-settings.max_model_len // settings.block_size)
    slack = [
        (p.total_gib - p.context_gib - p.requested_gib, _free_memory),
        (p.total_gib - p.context_gib - p.non_torch_gib - p.weights_gib, _load),
        (p.kv_gib, _no_blocks),
        (min(p.kv_gib - p.needed_gib, -1e-9 if too_short else math.inf), _too_short),
        (p.headroom_gib - p.sampler_gib, _sampler),
    ]
    if settings.kv_cache_memory_bytes:
        slack[0] = (math.inf, _free_memory)
    refusal = next((say(p, settings) for amount, say in slack if amount < 0), None)
    return refusal, min(amount for amount, _ in slack) / p.total_gib


def _free_memory(p: MemoryPlan, settings: Settings) -> Failure:
    free = p.total_gib - p.context_gib
    return _failure(
        Cause.GPU_OOM_AT_START,
        f"ValueError: Free memory on device cuda:0 ({free:.2f}/{p.total_gib:.2f} GiB) on startup is less than desired "
        f"GPU memory utilization ({settings.gpu_memory_utilization:g}, {p.requested_gib:.2f} GiB). Decrease GPU memory "
        "utilization or reduce GPU memory used by other processes.",
    )


def _load(p: MemoryPlan, _settings: Settings) -> Failure:
    return _failure(
        Cause.GPU_OOM_AT_START,
        "Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization to free memory for "
        "weights, increasing --tensor-parallel-size, or using --quantization. (original error: CUDA out of memory. "
        f"Weights need {p.weights_gib:.2f} GiB of {p.total_gib:.2f} GiB.)",
    )


def _no_blocks(_p: MemoryPlan, _settings: Settings) -> Failure:
    return _failure(
        Cause.KV_CACHE_TOO_SMALL,
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
        "initializing the engine.",
    )


def _too_short(p: MemoryPlan, settings: Settings) -> Failure:
    length = max(0, (p.kv_tokens // settings.block_size - 1) * settings.block_size)
    failure = _failure(
        Cause.KV_CACHE_TOO_SMALL,
        f"ValueError: To serve at least one request with the model's max seq len ({settings.max_model_len}), "
        f"({p.needed_gib:.2f} GiB KV cache is needed, which is larger than the available KV cache memory "
        f"({p.kv_gib:.2f} GiB). Based on the available memory, the estimated maximum model length is {length}. Try "
        "increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
    )
    overshoot = p.needed_gib / p.kv_gib - 1 if p.kv_gib > 0 else None
    return replace(failure, overshoot=overshoot, hint={"max_model_len": length} if length else None)


def _sampler(_p: MemoryPlan, settings: Settings) -> Failure:
    return _failure(
        Cause.GPU_OOM_AT_START,
        f"RuntimeError: CUDA out of memory occurred when warming up sampler with {settings.max_num_seqs} dummy "
        "requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
    )


def _failure(cause: Cause, message: str) -> Failure:
    return Failure(cause, message, evidence=message)
