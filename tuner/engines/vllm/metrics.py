"""vLLM's /metrics: Prometheus text under our names."""

from __future__ import annotations

from tuner.engines.prometheus import Names, samples

NAMES = Names(
    sums={
        "requests": ("vllm:request_success_total",),
        "preemptions": ("vllm:num_preemptions_total",),
        "prompt_tokens": ("vllm:prompt_tokens_total",),
        "output_tokens": ("vllm:generation_tokens_total",),
        "prefix_queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
        "prefix_hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        "drafts": ("vllm:spec_decode_num_drafts_total",),
        "draft_tokens": ("vllm:spec_decode_num_draft_tokens_total",),
        "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total",),
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
    },
    largest={"kv_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")},
)
#: Histograms of requests that have ended: the counters of tokens above have those of running ones in them, too.
_ENDED = Names(
    sums={
        "requests": ("vllm:request_prompt_tokens_count",),
        "prompt_tokens": ("vllm:request_prompt_tokens_sum",),
        "output_tokens": ("vllm:request_generation_tokens_sum",),
    }
)
_CACHE_CONFIG = "vllm:cache_config_info"


def counters(text: str) -> dict[str, float]:
    """See Engine.counters.

    `requests` counts the requests that the engine served to their end. One that its client gave up is not among them:
    vLLM forgets it, or counts it under a reason of its own.
    """
    return NAMES.read(text)


def ended(text: str) -> dict[str, float]:
    """See Engine.ended."""
    return _ENDED.read(text)


def cache_config(text: str) -> dict[str, str]:
    """The labels of vllm:cache_config_info: the resolved cache configuration. "None" values are left out."""
    for sample in samples(text):
        if sample.name == _CACHE_CONFIG:
            return {key: value for key, value in sample.labels.items() if value != "None"}
    return {}


def model_name(text: str) -> str | None:
    """The served model's name, as labels tell it."""
    return next(
        (s.labels["model_name"] for s in samples(text) if s.name.startswith("vllm:") and "model_name" in s.labels), None
    )
