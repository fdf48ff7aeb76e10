"""What vLLM's start-up log says: one pattern for each fact and each wording that it has had."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from tuner.core.knob import Value

_F = r"(-?\d{1,9}(?:\.\d{1,9})?)"
_N = r"([\d,]{1,18})"

#: "(EngineCore pid=12) INFO 11-22 04:06:00 [core.py:402] text": who says it, how loud, when and where.
_PREFIX = re.compile(
    r"^(?:\([\w .:=-]{1,60}\) )?(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) )?"
    r"(?:(?P<time>\d\d-\d\d \d\d:\d\d:\d\d) )?(?:\[?[\w./]{1,80}\.py:\d{1,6}\] ?)?",
    re.ASCII,
)

#: The last line of a start: uvicorn's, so it carries no time.
STARTED = "Application startup complete"


def split_prefix(line: str) -> tuple[str, str]:
    """A log line's level ("" where it has none) and its text without the prefix."""
    match = _PREFIX.match(line)
    if match is None:
        return "", line
    return match["level"] or "", line[match.end() :]


def _last(log: str, *patterns: str) -> str | None:
    for pattern in patterns:
        found = re.findall(pattern, log, re.ASCII)
        if found:
            return str(found[-1])
    return None


def number(log: str, *patterns: str, pick: Callable[[list[float]], float] = max) -> float | None:
    """The number found by the first pattern that matches anywhere; `pick` chooses among several (one per GPU)."""
    for pattern in patterns:
        found = [float(text.replace(",", "")) for text in re.findall(pattern, log, re.ASCII) if text.strip(",")]
        if found:
            return pick(found)
    return None


def memory(log: str) -> dict[str, float]:
    """Memory terms in GiB by the names of EngineFacts; of several GPUs the smallest pool, the largest rest."""
    terms: dict[str, float | None] = {
        "weights_gib": number(
            log,
            rf"Model loading took {_F} GiB",
            rf"Loading model weights took {_F} G",
            rf"model weights take {_F}GiB",
            rf"Actual usage is {_F} GiB for weight",
        ),
        "activation_gib": number(log, rf"{_F} GiB for peak activation", rf"activation peak memory takes {_F}GiB"),
        "non_torch_gib": number(log, rf"{_F} GiB for non-torch memory", rf"non_torch_memory takes {_F}GiB"),
        "graphs_gib": number(
            log,
            rf"{_F} GiB for CUDAGraph memory",
            rf"CUDA graph pool memory: {_F} GiB \(actual\)",
            rf"Graph capturing finished in \d+ secs?, took {_F} GiB",
        ),
        "kv_cache_gib": number(
            log,
            rf"Available KV cache memory: {_F} GiB",
            rf"reserved for KV Cache is {_F}GiB",
            rf"(?:Explicitly|Auto) set \({_F}/{_F[1:-1]}\) GiB for KV cache",
            pick=min,
        ),
        "total_gib": number(
            log,
            rf"Free memory on device (?:\S+ )?\({_F[1:-1]}/{_F} GiB\)",
            rf"total_gpu_memory \({_F}GiB\)",
            rf"(?:Explicitly|Auto) set \({_F[1:-1]}/{_F}\) GiB for KV cache",
        ),
    }
    consumed = number(log, rf"Actual usage is {_F} GiB for consumed memory")
    if terms["non_torch_gib"] is None and consumed is not None and terms["weights_gib"] is not None:
        # Since about 0.30 weights and the rest are told as one; the rest is what loading did not take.
        terms["non_torch_gib"] = round(max(0.0, consumed - terms["weights_gib"]), 2)
    return {name: value for name, value in terms.items() if value is not None}


def kv_cache_tokens(log: str) -> int | None:
    """Tokens that fit the KV cache, in any of the wordings."""
    tokens = number(log, rf"KV cache size: {_N} tokens", pick=min)
    if tokens is not None:
        return int(tokens)
    blocks = number(log, rf"# (?:GPU|CUDA|cuda) blocks: {_N}", pick=min)  # before 0.8: blocks of 16 unless set
    size = settings(log).get("block_size", 16)
    return int(blocks) * int(size) if blocks is not None else None


def settings(log: str) -> dict[str, Value]:
    """Resolved settings by knob name; what the engine derived is preferred to what it was asked for."""
    found = _asked(log)
    found |= _speculation(log)
    config = _last(log, r"Initializing an? (?:V\d )?LLM engine[^\n]{0,20} with config: ([^\n]*)") or ""
    found |= _of_config(config)
    resolved: dict[str, float | None] = {
        "max_num_batched_tokens": number(
            log,
            r"Chunked prefill is enabled with max_num_batched_tokens=(\d{1,9})",
            r"(?:Setting|Defaulting) max_num_batched_tokens to (\d{1,9})",
        ),
        "max_num_seqs": number(log, r"(?:Setting|Defaulting) max_num_seqs to (\d{1,9})"),
        "max_model_len": number(
            log, r"Using max model len (\d{1,9})", rf"Maximum concurrency for {_N} tokens per request"
        ),
    }
    for name, value in resolved.items():
        if value is not None:
            found[name] = int(value)
    utilization = number(log, rf"GPU memory utilization is \({_F},", rf"gpu_memory_utilization \({_F}\)")
    if utilization is not None:
        found.setdefault("gpu_memory_utilization", utilization)
    if "Chunked prefill is enabled" in log:
        found.setdefault("enable_chunked_prefill", True)
    return found


_ECHOED = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "block_size",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "tensor_parallel_size",
    "max_model_len",
)


def _asked(log: str) -> dict[str, Value]:
    """From the line "non-default args: {...}": what reached the process from its command line."""
    line = _last(log, r"non-default args: (\{[^\n]*)") or ""
    found: dict[str, Value] = {}
    for name, text in re.findall(rf"'({'|'.join(_ECHOED)})': ('[^'\n]*'|[\w.+-]+)", line):
        value = _literal(text)
        if isinstance(value, (bool, int, float, str)):
            found[name] = value
    return found


def _of_config(config: str) -> dict[str, Value]:
    names = {
        "enable_prefix_caching": "enable_prefix_caching",
        "chunked_prefill_enabled": "enable_chunked_prefill",
        "enable_chunked_prefill": "enable_chunked_prefill",
        "kv_cache_dtype": "kv_cache_dtype",
        "tensor_parallel_size": "tensor_parallel_size",
        "max_seq_len": "max_model_len",
    }
    found: dict[str, Value] = {}
    for name, text in re.findall(rf"\b({'|'.join(names)})=([\w.]+)", config):
        value = _literal(text) if text[0].isdigit() or text in ("True", "False", "None") else text
        if isinstance(value, (bool, int, float, str)):
            found[names[name]] = value
    return found


def _speculation(log: str) -> dict[str, Value]:
    config = _last(log, r"\bspeculative_config=((?:SpeculativeConfig\([^\n)]*\))|None)")
    if config == "None":
        return {"speculative_method": "off", "num_speculative_tokens": 0}
    if config is None:
        config = _last(log, r"'speculative_config': (\{[^\n}]*\})") or ""
    method = _last(config, r"\bmethod'?[=:] ?'([\w-]{1,40})'")
    tokens = _last(config, r"\bnum_spec(?:ulative)?_tokens'?[=:] ?(\d{1,6})")
    found: dict[str, Value] = {}
    if method is not None:
        found["speculative_method"] = method
    if tokens is not None:
        found["num_speculative_tokens"] = int(tokens)
    return found


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def version(log: str) -> str | None:
    """The engine's version."""
    return _last(
        log,
        r"vLLM API server version v?(\d[\w.+-]{0,60})",
        r"LLM engine \(v?(\d[\w.+-]{0,60})\)",
        r"█\s+version v?(\d[\w.+-]{0,60})",
    )


def model(log: str) -> str | None:
    """The model that was loaded."""
    return _last(
        log,
        r"LLM engine[^\n]{0,20} with config: model='([^'\n]*)'",
        r"'model(?:_tag)?': '([^'\n]*)'",
        r"█\s+model\s+(\S+)",
    )


def on_cpu(log: str) -> bool:
    """See Engine.on_cpu."""
    return re.search(r"device_config=cpu\b|detected platform cpu\b", log) is not None
