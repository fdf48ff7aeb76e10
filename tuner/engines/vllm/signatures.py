"""vLLM's known last words: how each is recognised, and what it says about the candidate."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tuner.core.cause import Cause
from tuner.engines.vllm import log as logs

_F = r"(-?\d{1,9}(?:\.\d{1,9})?)"


@dataclass(frozen=True)
class Finding:
    """What a signature made of its match."""

    cause: Cause
    quote: str
    say: str = ""  # put before the quote
    overshoot: float | None = None
    hint: dict[str, int] | None = None


@dataclass(frozen=True)
class Signature:
    """A pattern, and what it means. Most speak of a start: of an engine that serves, only some can be the end."""

    pattern: re.Pattern[str]
    find: Callable[[re.Match[str], str], Finding]
    serving: bool


def _signature(pattern: str, find: Callable[[re.Match[str], str], Finding], *, serving: bool = False) -> Signature:
    return Signature(re.compile(pattern, re.ASCII | re.MULTILINE), find, serving)


def _plain(cause: Cause, say: str = "") -> Callable[[re.Match[str], str], Finding]:
    return lambda match, _: Finding(cause, match[0], say)


def _kv_too_small(match: re.Match[str], _: str) -> Finding:
    needed, available = float(match[2]), float(match[3])
    return Finding(
        Cause.KV_CACHE_TOO_SMALL,
        match[0],
        "the KV cache can't hold one request of the maximum length",
        overshoot=needed / available - 1 if available > 0 else None,
        hint={"max_model_len": int(match[4])} if match[4] else None,
    )


def _kv_too_small_v0(match: re.Match[str], _: str) -> Finding:
    needed, available = int(match[1]), int(match[2])
    return Finding(
        Cause.KV_CACHE_TOO_SMALL,
        match[0],
        "the KV cache can't hold one request of the maximum length",
        overshoot=needed / available - 1 if available else None,
        hint={"max_model_len": available} if available else None,
    )


def _not_free(match: re.Match[str], _: str) -> Finding:
    free, wanted = float(match[1]), float(match[2])
    return Finding(
        Cause.GPU_OOM_AT_START,
        match[0],
        "less GPU memory was free than asked for (another process, or one that is still leaving, holds it)",
        overshoot=wanted / free - 1 if free > 0 else None,
    )


def _not_free_cpu(match: re.Match[str], _: str) -> Finding:
    free, wanted = float(match[1]), float(match[2])
    if wanted <= 0:  # a share so small that nothing is left for the cache
        return Finding(Cause.KV_CACHE_TOO_SMALL, match[0], "no memory is left for the KV cache")
    overshoot = wanted / free - 1 if free > 0 else None
    return Finding(Cause.HOST_OOM, match[0], "less host memory was free than asked for", overshoot=overshoot)


def _kv_negative_cpu(match: re.Match[str], _: str) -> Finding:
    return Finding(Cause.KV_CACHE_TOO_SMALL, match[0], "no memory is left for the KV cache")


#: Where an out-of-memory error came from, by the frames of its traceback.
_PHASES = (
    ("warming up sampler", "warming up the sampler"),
    ("profile_run|determine_available_memory", "profiling a full batch"),
    ("capture_model|capture_graph|_capture_cudagraphs|Capturing CUDA graph", "capturing CUDA graphs"),
    ("initialize_kv_cache|_allocate_kv_cache|allocate_gpu_cache", "allocating the KV cache"),
    ("load_model|Failed to load model|load_weights|create_weights", "loading the weights"),
    ("_dummy_run|warm_?up", "warming up"),
)
_TORCH_OOM = (
    r"^.*(?:torch\.(?:cuda\.)?OutOfMemoryError|(?:CUDA|HIP) out of memory|CUDA error: out of memory"
    r"|cudaErrorMemoryAllocation|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED).*$"
)


def _torch_oom(match: re.Match[str], log: str) -> Finding:
    if logs.STARTED in log[: match.start()]:
        return Finding(Cause.GPU_OOM_UNDER_LOAD, match[0], "the GPU ran out of memory while serving")
    frames = log[max(0, match.start() - 8000) : match.end() + 300]
    phase = next((words for pattern, words in _PHASES if re.search(pattern, frames)), None)
    return Finding(
        Cause.GPU_OOM_AT_START,
        match[0],
        f"the GPU ran out of memory while {phase}" if phase else "the GPU ran out of memory",
        overshoot=_lacking(match[0]),
    )


def _lacking(text: str) -> float | None:
    """(asked for - free) / total, from "Tried to allocate 3.50 GiB. GPU 0 has a total capacity of ..."."""
    gib = {"GiB": 1.0, "MiB": 1 / 1024, "KiB": 1 / 1024**2}
    tried = re.search(rf"Tried to allocate {_F} ([GMK]iB)", text)
    total = re.search(rf"total capacity of {_F} ([GMK]iB) of which {_F} ([GMK]iB) is free", text)
    if tried is None or total is None or float(total[1]) <= 0:
        return None
    lack = float(tried[1]) * gib[tried[2]] - float(total[3]) * gib[total[4]]
    return max(0.0, lack / (float(total[1]) * gib[total[2]]))


def _validation(match: re.Match[str], log: str) -> Finding:
    """pydantic: the sentence is on one of the next lines, the field's name on the line before it."""
    rest = log[match.end() : match.end() + 4000]
    said = re.search(
        r"Value error, ([^\n]*?)(?: \[type=|$)|^\s*(Input should be [^\n]*?)(?: \[type=|$)", rest, re.MULTILINE
    )
    if said is None:
        return Finding(Cause.BAD_FLAG, match[0])
    field = re.findall(r"^(?:\(.{1,60}?\) )?(\w{1,60})$", rest[: said.start()], re.MULTILINE)
    sentence = said[1] or said[2]
    quote = f"{field[-1]}: {sentence}" if field and said[2] else sentence
    return Finding(Cause.BAD_FLAG, quote, hint=_validation_hint(sentence))


def _validation_hint(sentence: str) -> dict[str, int] | None:
    fewer = re.search(
        r"max_num_batched_tokens \((\d{1,12})\) must be greater than or equal to max_num_seqs \((\d{1,12})\)", sentence
    )
    if fewer:
        return {"max_num_batched_tokens": int(fewer[2])}
    shorter = re.search(r"max_num_batched_tokens \((\d{1,12})\) is smaller than max_model_len \((\d{1,12})\)", sentence)
    if shorter:
        return {"max_num_batched_tokens": int(shorter[2])}
    longer = re.search(r"derived max_model_len \(max_position_embeddings=(\d{1,12})", sentence)
    return {"max_model_len": int(longer[1])} if longer else None


_IMAGE = Cause.IMAGE_OR_CONFIG
#: In order: the first signature found anywhere in the log names the cause.
SIGNATURES = (
    _signature(
        r"^.{0,80}?: error: "
        r"((?:unrecognized arguments|argument |ambiguous option|the following arguments are|expected ).*)$",
        lambda match, _: Finding(Cause.BAD_FLAG, match[1]),
    ),
    _signature(
        r"To serve at least one request with the models?'s max seq len \((\d{1,12})\),? \(?"
        rf"{_F} GiB KV cache is needed, which is larger than the available KV cache memory \({_F} GiB\)"
        r"(?:.{0,80}?estimated maximum model length is (\d{1,12}))?",
        _kv_too_small,
    ),
    _signature(
        r"max seq len \((\d{1,12})\) is larger than the maximum number of tokens that can be stored in KV cache "
        r"\((\d{1,12})\)",
        _kv_too_small_v0,
    ),
    _signature(
        r"No available memory for the cache blocks.*$",
        _plain(Cause.KV_CACHE_TOO_SMALL, "no memory is left for the KV cache"),
    ),
    _signature(r"Cannot auto-fit max_model_len.*$", _plain(Cause.KV_CACHE_TOO_SMALL)),
    _signature(
        rf"Free memory on device[^\n(]{{0,40}}\({_F}/{_F[1:-1]} GiB\) on startup is less than desired GPU memory "
        rf"utilization \({_F[1:-1]}, {_F} GiB\).*$",
        _not_free,
    ),
    _signature(
        rf"Available memory on node \d+ \({_F}/{_F[1:-1]} GiB\)[^\n]{{0,80}} is less than desired CPU memory "
        rf"utilization \({_F[1:-1]}, {_F} GiB\).*$",
        _not_free_cpu,
    ),
    _signature(
        rf"Available memory on node \d+ \({_F}/{_F[1:-1]} GiB\)[^\n]{{0,80}} requested memory for kv \({_F} GiB\).*$",
        _not_free_cpu,
    ),
    _signature(r"less than requested memory for kv \(-\d.*$", _kv_negative_cpu),
    _signature(
        r"CUDA out of memory occurred when warming up (?:sampler|pooler) with \d+ dummy requests.*$",
        _plain(Cause.GPU_OOM_AT_START, "the GPU ran out of memory while warming up the sampler"),
    ),
    _signature(
        r"Error in memory profiling\..*$",
        _plain(Cause.EXTERNAL_CHANGE, "another process released GPU memory during the start; it may work next time"),
    ),
    _signature(_TORCH_OOM, _torch_oom, serving=True),
    _signature(
        r"DefaultCPUAllocator: can't allocate memory.*$|^.{0,200}Cannot allocate memory.*$|^.{0,200}\bMemoryError\b.*$",
        _plain(Cause.HOST_OOM, "the host refused memory"),
        serving=True,
    ),
    _signature(r"\d+ validation errors? for \w+", _validation),
    _signature(r"^.{0,200}Address already in use.*$", _plain(_IMAGE, "the port is taken")),
    _signature(
        r"(?:HFValidationError|RepositoryNotFoundError|GatedRepoError|LocalEntryNotFoundError|RevisionNotFoundError)\b.*$"
        r"|Repo id must (?:be in the form|use).*$|Cannot find any model weights with.*$"
        r"|^.{0,200}is not a valid model identifier.*$|Can't load the configuration of.*$"
        r"|Invalid repository ID or local directory specified.*$|You are trying to access a gated repo.*$",
        _plain(_IMAGE, "the model can't be found or read"),
    ),
    _signature(
        r"(?:ModuleNotFoundError|PackageNotFoundError): .*$|Failed to infer device type.*$"
        r"|No CUDA GPUs are available.*$|CUDA driver version is insufficient.*$|libcuda\.so\.1: cannot open.*$"
        r"|VLLM_PORT .{0,80}appears to be a URI.*$"
        r"|Model architectures? .{0,200} (?:are|is) not supported.*$|failed to be inspected.*$",
        _plain(_IMAGE, "the image or its environment does not fit"),
    ),
    _signature(
        r"^.{0,200}(?:No common block size for|is required for suffix decoding|must be divisible by"
        r"|World size \(\d+\) is larger"
        r"|is not supported (?:on|in|by|with|for)|does not support|not supported in this architecture).*$",
        _plain(Cause.BAD_FLAG, "this engine can't run these settings"),
    ),
    _signature(r"^.*No space left on device.*$", _plain(_IMAGE, "a disk is full"), serving=True),
    _signature(
        r"(?:\w+\.){0,4}(?:ConnectionError|ConnectError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|HfHubHTTPError)\b.*$"
        r"|We couldn't connect to 'http.*$",
        _plain(_IMAGE, "the model's files can't be fetched"),
    ),
)
