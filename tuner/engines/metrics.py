"""The metrics of any engine, told by its names: for a server of which nobody has said what runs there.

Neither SGLang's nor TensorRT-LLM's count of requests is among them: it may hold those that their client gave up, so
that it could not tell whether others were served beside ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuner.engines.prometheus import Names
from tuner.engines.vllm import metrics as vllm

#: SGLang 0.5 (--enable-metrics). What it calls a retraction is a preemption. Its gauge cache_hit_rate falls back to 0
#: with every report on decoding; the tokens are counted.
SGLANG = Names(
    sums={
        "preemptions": ("sglang:num_retracted_requests_total",),
        "prompt_tokens": ("sglang:prompt_tokens_total",),
        "output_tokens": ("sglang:generation_tokens_total",),
        "prefix_queries": ("sglang:prompt_tokens_total",),
        "prefix_hits": ("sglang:cached_tokens_total",),
        "running": ("sglang:num_running_reqs",),
        "waiting": ("sglang:num_queue_reqs",),
    },
    largest={
        "kv_usage": ("sglang:token_usage",),
        "acceptance": ("sglang:spec_accept_rate",),
        "accepted_length": ("sglang:spec_accept_length",),
    },
)
#: TensorRT-LLM 1.x (return_perf_metrics, and enable_iter_perf_stats for what counts iterations).
TENSORRT_LLM = Names(
    sums={
        "prompt_tokens": ("trtllm_prompt_tokens_total",),
        "output_tokens": ("trtllm_generation_tokens_total",),
        "prefix_queries": ("trtllm_prompt_tokens_total",),
        "prefix_hits": ("trtllm_prompt_cached_tokens_total",),
        "draft_tokens": ("trtllm_spec_decode_num_draft_tokens_total",),
        "accepted_tokens": ("trtllm_spec_decode_num_accepted_tokens_total",),
        "running": ("trtllm_num_requests_running",),
        "waiting": ("trtllm_num_requests_waiting",),
    },
    largest={
        "kv_usage": ("trtllm_kv_cache_utilization",),
        "accepted_length": ("trtllm_spec_decode_acceptance_length",),
    },
)


def counters(text: str) -> Mapping[str, float]:
    """The counters and gauges of whichever engine wrote this page; see Engine.counters. Empty where none did."""
    for names in (vllm.NAMES, SGLANG, TENSORRT_LLM):
        found = names.read(text)
        if found:
            return {name: value for name, value in found.items() if not _off(name, value)}
    return {}


def _off(name: str, value: float) -> bool:
    """Engines show their speculation as 0 while there is none; at the least it brings 1 token a step."""
    return name in ("acceptance", "accepted_length") and value == 0
