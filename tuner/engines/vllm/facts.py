"""What a started vLLM runs with, from its log and its metrics, and how that compares with what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value
from tuner.engines.engine import Lever
from tuner.engines.vllm import log as logs
from tuner.engines.vllm import metrics as prometheus
from tuner.engines.vllm.speculation import METHOD, OFF, TOKENS

_GIB = 2**30
_CACHE_LAYOUT = frozenset({"kv_cache_dtype", "block_size", "tensor_parallel_size"})
_CACHE_SIZE = frozenset({"gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override"})
#: Each of these says how large the KV cache is, and nothing else; another one, or the environment, may overrule it.
LEVERS: Mapping[str, Lever] = {
    name: Lever("kv_cache_tokens", _CACHE_LAYOUT | _CACHE_SIZE - {name}) for name in sorted(_CACHE_SIZE)
}
#: Two names of one format: e4m3 is what "fp8" stands for.
_SAME_DTYPE = {"fp8_e4m3": "fp8", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8_e5m2"}


def facts(log: str, metrics: str) -> EngineFacts:
    """See Engine.facts. Metrics are preferred to the log: they are the configuration after the engine resolved it."""
    cache = prometheus.cache_config(metrics)
    terms = logs.memory(log)
    if "kv_cache_gib" not in terms and (bytes_ := _int(cache, "kv_cache_memory_bytes")) is not None:
        terms["kv_cache_gib"] = round(bytes_ / _GIB, 4)
    return EngineFacts(
        engine="vllm",
        version=logs.version(log),
        model=logs.model(log) or prometheus.model_name(metrics),
        settings=(logs.settings(log) | _cache_settings(cache)) or None,
        kv_cache_tokens=_tokens(cache) or logs.kv_cache_tokens(log),
        weights_gib=terms.get("weights_gib"),
        activation_gib=terms.get("activation_gib"),
        non_torch_gib=terms.get("non_torch_gib"),
        graphs_gib=terms.get("graphs_gib"),
        kv_cache_gib=terms.get("kv_cache_gib"),
        total_gib=terms.get("total_gib"),
    )


def _cache_settings(cache: dict[str, str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if (block_size := _int(cache, "block_size")) is not None:
        found["block_size"] = block_size
    if "cache_dtype" in cache:
        found["kv_cache_dtype"] = cache["cache_dtype"]
    if cache.get("enable_prefix_caching") in ("True", "False"):
        found["enable_prefix_caching"] = cache["enable_prefix_caching"] == "True"
    with suppress(KeyError, ValueError):
        found["gpu_memory_utilization"] = float(cache["gpu_memory_utilization"])
    return found


def _tokens(cache: dict[str, str]) -> int | None:
    tokens, blocks, size = (_int(cache, name) for name in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size"))
    if tokens is not None:
        return tokens
    return blocks * size if blocks is not None and size is not None else None


def _int(cache: dict[str, str], name: str) -> int | None:
    text = cache.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def differs(candidate: Candidate, reported: EngineFacts) -> dict[str, tuple[Value, Value]]:
    """See Engine.differs. A knob of which the engine says nothing does not differ."""
    settings = dict(reported.settings or {})
    asked = dict(candidate)
    if asked.get(METHOD) == OFF or asked.get(TOKENS) == 0:
        asked |= {name: value for name, value in ((METHOD, OFF), (TOKENS, 0)) if name in asked}
    return {
        name: (value, settings[name])
        for name, value in asked.items()
        if name in settings and not _same(name, value, settings[name])
    }


def _same(name: str, asked: Value, reported: Value) -> bool:
    if isinstance(asked, str) and isinstance(reported, str):
        if name == "kv_cache_dtype":
            # "auto" means the engine decides: whatever it reports is what was asked for.
            return asked == "auto" or _SAME_DTYPE.get(asked, asked) == _SAME_DTYPE.get(reported, reported)
        return asked == reported or (name == METHOD and asked == "mtp" and reported.endswith("_mtp"))
    if isinstance(asked, bool) or isinstance(reported, bool) or isinstance(asked, str) or isinstance(reported, str):
        return asked == reported
    return abs(asked - reported) <= 1e-6 * max(1.0, abs(asked))
