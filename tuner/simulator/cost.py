"""How long one engine step takes: an interface, and a roofline with fixed costs that fulfils it.

The scheduler asks for seconds and does not know which implementation answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tuner.core.hardware import Gpu, Model
from tuner.simulator import shape
from tuner.simulator.settings import Settings


@dataclass(frozen=True, slots=True)
class StepWork:
    """What one step computes.

    `prefill_tokens` are prompt tokens (of `prefill_sequences` sequences); `prefill_pairs` the query-key pairs of their
    attention. `decode_sequences` produce tokens from `context_tokens` cached tokens in sum; for each of them `drafted`
    tokens were proposed and are verified.
    """

    prefill_tokens: int = 0
    prefill_sequences: int = 0
    prefill_pairs: int = 0
    decode_sequences: int = 0
    context_tokens: int = 0
    drafted: int = 0


class StepCost(Protocol):
    """Seconds of engine work. Must not depend on anything but its arguments."""

    def seconds(self, work: StepWork) -> float:
        """Duration of one step."""
        ...

    def admission_s(self, prompt_tokens: int) -> float:
        """Time the front end needs for one request before the engine sees it; requests pass it one at a time."""
        ...


@dataclass(frozen=True)
class Drafting:
    """What proposing costs. `pass_share` is one draft pass as a share of the target's weights read per token.

    `step_s` is paid once per step, `pass_s` per drafted token, both independent of the batch. `proposing` is the share
    of sequences that get a draft at all: lookup methods propose only where they find the last tokens again.
    """

    step_s: float
    pass_s: float
    pass_share: float = 0.0
    proposing: float = 1.0


#: Fits. eagle3: Llama-3.1-8B on H100 at batch 1, k = 2..7: TPOT 4.32..4.29 ms at acceptance length 2.36..3.54, so a
#: step grows by 1.1 ms + 1.0 ms per token. draft_model: +57 % on A100 at 8 clients (1B beside 8B, k = 4). ngram: 0.58
#: times the throughput on H100 at 8 clients with little acceptance: drafting on the host ends asynchronous scheduling.
DRAFTING = {
    "ngram": Drafting(step_s=2.5e-3, pass_s=0.02e-3, proposing=0.4),
    "suffix": Drafting(step_s=2.5e-3, pass_s=0.05e-3, proposing=0.6),
    "eagle": Drafting(step_s=1.1e-3, pass_s=0.45e-3, pass_share=0.08),
    "eagle3": Drafting(step_s=1.1e-3, pass_s=0.45e-3, pass_share=0.08),
    "mtp": Drafting(step_s=1.1e-3, pass_s=0.45e-3, pass_share=0.08),
    "medusa": Drafting(step_s=1.1e-3, pass_s=0.1e-3, pass_share=0.04),
    "draft_model": Drafting(step_s=1.1e-3, pass_s=1.0e-3, pass_share=0.15),
}
_NO_DRAFTING = Drafting(step_s=0.0, pass_s=0.0, proposing=0.0)

#: GB/s per direction between GPUs of one node, by the beginning of the GPU's name: NVIDIA data sheets (NVLink 3: 600
#: GB/s both ways, 4: 900, 5: 1800). Others talk over PCIe through the host, where each all-reduce waits longer too
#: (fit: TP 2 over PCIe gave 0.85 times the throughput of one A40, Qwen2.5-3B).
_NVLINK_GB_S = (("A100", 300.0), ("H100", 450.0), ("H200", 450.0), ("B200", 900.0))
_PCIE_GB_S, _PCIE_LATENCY_S = 10.0, 60e-6


@dataclass(frozen=True)
class CostConstants:
    """Constants of the roofline. Sources: (fit) over 24 public decode points, six GPU types, TP 1-8, mean error 4.9 %.

    `bandwidth_efficiency` and `layer_s` are from that fit; `mfu` is what large prefill chunks reach; `step_s`,
    `request_s` and `prompt_token_s` are orders of magnitude seen in traces of vLLM's API server and scheduler.
    """

    bandwidth_efficiency: float = 0.92
    layer_s: float = 75e-6
    eager_layer_s: float = 220e-6  # without CUDA graphs every kernel is launched by the host
    mfu: float = 0.45
    step_s: float = 0.1e-3
    sequence_s: float = 10e-6  # sampling, detokenising and bookkeeping of one sequence in one step
    request_s: float = 2e-3
    prompt_token_s: float = 15e-6
    link_efficiency: float = 0.7
    # Unpacking a quantised KV cache: 0-5 % of a step at short contexts, most where the GPU has no 8-bit floats (fits).
    kv_quant_layer_s: float = 1e-6
    kv_quant_emulated_layer_s: float = 15e-6


class Roofline:
    """Step time = max(weights read, arithmetic) + KV read + attention + all-reduce + fixed costs per layer and step."""

    def __init__(self, model: Model, gpu: Gpu, settings: Settings, constants: CostConstants | None = None) -> None:
        c = constants or CostConstants()
        self.constants, self.settings, self.model = c, settings, model
        size = settings.tensor_parallel_size
        bandwidth = c.bandwidth_efficiency * gpu.bandwidth_tb_s * 1e12 * size
        flops = gpu.bf16_tflops
        if shape.linear_bytes_per_weight(model) == 1.0 and gpu.fp8_tflops:
            flops = gpu.fp8_tflops
        self._flops = c.mfu * flops * 1e12 * size
        self._attention_flops = c.mfu * gpu.bf16_tflops * 1e12 * size
        layer_s = c.eager_layer_s if settings.enforce_eager else c.layer_s
        if settings.kv_cache_dtype not in ("auto", "bfloat16", "float16"):
            layer_s += c.kv_quant_layer_s if gpu.compute_capability >= 8.9 else c.kv_quant_emulated_layer_s
        reduce_s, self._reduce_s = _all_reduce_s(model, gpu, size, c.link_efficiency)
        self._fixed_s = c.step_s + model.layers * layer_s + reduce_s
        self._drafting = DRAFTING.get(settings.speculative_method, _NO_DRAFTING)
        self._flops_per_token = 2 * (
            shape.linear_parameters(model, model.active_experts or None) + model.vocab * model.hidden
        )
        self._dense_s, self._expert_s = _weight_read_s(model, bandwidth)
        kv_bytes = shape.kv_bytes_per_token(model, settings.kv_cache_dtype, size) * size
        self._kv_s = kv_bytes / bandwidth
        # One query-key pair: 2 operations for the score and 2 for the value, per head dimension and layer.
        self._pair_s = 4 * model.heads * model.head_dim * model.layers / self._attention_flops

    def seconds(self, work: StepWork) -> float:
        """Duration of one step, in seconds."""
        c = self.constants
        tokens = work.prefill_tokens + work.decode_sequences * (1 + work.drafted * self._drafting.proposing)
        if not tokens:
            return 0.0
        weights = self._dense_s + self._expert_s * _experts_read(self.model, tokens)
        total = max(weights, tokens * self._flops_per_token / self._flops)
        total += self._fixed_s + work.context_tokens * self._kv_s + work.prefill_pairs * self._pair_s
        total += tokens * self._reduce_s
        total += (work.decode_sequences + work.prefill_sequences) * c.sequence_s
        if work.drafted and work.decode_sequences:
            per_pass = self._drafting.pass_s + self._drafting.pass_share * weights
            total += self._drafting.step_s + work.drafted * per_pass
        return total

    def admission_s(self, prompt_tokens: int) -> float:
        """Tokenising and bookkeeping of one request, in seconds."""
        return self.constants.request_s + prompt_tokens * self.constants.prompt_token_s


def _weight_read_s(model: Model, bandwidth: float) -> tuple[float, float]:
    """Seconds to read everything but the experts, and to read one expert of every layer.

    The embedding counts as if it were read whole, because the fitted constants belong to the sum of all weights.
    """
    if not model.experts:
        return shape.weight_bytes(model) / bandwidth, 0.0
    per_weight = shape.linear_bytes_per_weight(model)
    dense = shape.linear_parameters(model, 0) * per_weight + shape.embedding_parameters(model) * model.dtype_bytes
    return dense / bandwidth, model.layers * shape.expert_parameters(model) * per_weight / bandwidth


def _experts_read(model: Model, tokens: float) -> float:
    """Expected number of experts that at least one of `tokens` tokens is sent to, when choices are even."""
    if not model.experts:
        return 0.0
    missed: float = (1 - model.active_experts / model.experts) ** tokens
    return model.experts * (1 - missed)


def _all_reduce_s(model: Model, gpu: Gpu, size: int, efficiency: float) -> tuple[float, float]:
    """Seconds per step and per token of the two all-reduces of every layer.

    2 (n-1)/n of the hidden state crosses each link (ring all-reduce). NVLink's latency is part of the cost per layer.
    """
    if size == 1:
        return 0.0, 0.0
    nvlink = None if "PCIe" in gpu.name else next((s for name, s in _NVLINK_GB_S if gpu.name.startswith(name)), None)
    moved = 2 * (size - 1) / size * model.hidden * model.dtype_bytes
    per_token = 2 * model.layers * moved / ((nvlink or _PCIE_GB_S) * 1e9 * efficiency)
    return (0.0 if nvlink else 2 * model.layers * _PCIE_LATENCY_S), per_token
