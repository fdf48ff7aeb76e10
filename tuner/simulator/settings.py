"""Engine settings as numbers: vLLM's defaults filled in, and what it refuses before it touches a GPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Value
from tuner.simulator.shape import KV_BYTES

#: The version whose behaviour is assumed where none is known.
DEFAULT_VERSION = "0.32.0"

KV_CACHE_DTYPES = ("auto", *KV_BYTES)
SPECULATIVE_METHODS = ("ngram", "suffix", "eagle", "eagle3", "mtp", "draft_model", "medusa")
_ONLY_WHEN_SET = ("num_speculative_tokens", "kv_cache_memory_bytes", "num_gpu_blocks_override")
_OFF = ("", "off", "none", "None")


class NotModelled(TrialFailed):
    """A value that the simulator refuses because it knows nothing about it; an engine may well take it."""


@dataclass(frozen=True)
class Settings:
    """One engine's resolved settings. `speculative_method` "" means no speculation; `version` is vLLM's."""

    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float
    max_model_len: int
    kv_cache_dtype: str = "auto"
    block_size: int = 16
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    tensor_parallel_size: int = 1
    speculative_method: str = ""
    num_speculative_tokens: int = 0
    enforce_eager: bool = False
    kv_cache_memory_bytes: int = 0  # 0: from gpu_memory_utilization
    num_gpu_blocks_override: int = 0  # 0: from the KV cache's size
    version: str = DEFAULT_VERSION

    @property
    def tokens_per_decode(self) -> int:
        """Tokens that one decoding sequence takes from a step's budget: itself and what was drafted for it."""
        return 1 + self.num_speculative_tokens

    def as_values(self) -> dict[str, Value]:
        """By knob name, as an engine reports them; overrides and the number of drafts only where they are on."""
        hidden = {"version"} | {name for name in _ONLY_WHEN_SET if not getattr(self, name)}
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in hidden}
        return {**values, "speculative_method": self.speculative_method or "off"}


def version_tuple(version: str | None) -> tuple[int, int]:
    """(major, minor) of a vLLM version; the default version's where it can't be read."""
    match = re.match(r"v?(\d+)\.(\d+)", version or "") or re.match(r"(\d+)\.(\d+)", DEFAULT_VERSION)
    assert match is not None
    return int(match[1]), int(match[2])


def resolve(
    candidate: Mapping[str, Value],
    fixed: Mapping[str, Value],
    model: Model,
    gpu: Gpu,
    gpu_count: int,
    version: str | None = None,
) -> Settings:
    """Fill in vLLM's defaults for what neither `candidate` nor `fixed` sets, and refuse what vLLM refuses.

    Raises TrialFailed: bad-flag, or crash-at-start for what breaks later, each with vLLM's own message; NotModelled for
    a KV cache type or a method of speculation that is not known here.
    Defaults: vLLM 0.32, `EngineArgs.get_batch_defaults` for the API server.
    """
    given: dict[str, Value] = {**fixed, **candidate}
    _check_types(given)
    version = version or str(given.get("version") or DEFAULT_VERSION)
    chunked = bool(given.get("enable_chunked_prefill", True))
    max_model_len = _max_model_len(given.get("max_model_len"), model)
    seqs, tokens = _batch(given, gpu, max_model_len, chunked)
    method, drafted = _speculation(given)
    settings = Settings(
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        gpu_memory_utilization=float(given.get("gpu_memory_utilization", default_utilization(version))),
        max_model_len=max_model_len,
        kv_cache_dtype=str(given.get("kv_cache_dtype", "auto")),
        block_size=int(given.get("block_size", 16)),
        enable_prefix_caching=bool(given.get("enable_prefix_caching", True)),
        enable_chunked_prefill=chunked,
        tensor_parallel_size=int(given.get("tensor_parallel_size", 1)),
        speculative_method=method,
        num_speculative_tokens=drafted,
        enforce_eager=bool(given.get("enforce_eager", False)),
        kv_cache_memory_bytes=int(given.get("kv_cache_memory_bytes", 0)),
        num_gpu_blocks_override=int(given.get("num_gpu_blocks_override", 0)),
        version=version,
    )
    _refuse(settings, model, gpu, gpu_count)
    return settings


def default_utilization(version: str | None) -> float:
    """vLLM's default gpu_memory_utilization: .90, and .92 since 0.22."""
    return 0.92 if version_tuple(version) >= (0, 22) else 0.90


def batch_defaults(gpu: Gpu) -> tuple[int, int]:
    """vLLM's default (max_num_seqs, max_num_batched_tokens) for its API server on this GPU."""
    if gpu.memory_gib >= 160:
        return 1024, 16384
    if gpu.memory_gib >= 70 and "a100" not in gpu.name.lower():
        return 1024, 8192
    return 256, 2048


def bad_flag(message: str) -> TrialFailed:
    """A refusal while vLLM reads its flags."""
    return TrialFailed(Failure(Cause.BAD_FLAG, message, evidence=message))


_INTEGERS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "tensor_parallel_size",
    "num_speculative_tokens",
    "kv_cache_memory_bytes",
    "num_gpu_blocks_override",
)


def _check_types(given: Mapping[str, Value]) -> None:
    for name in (*_INTEGERS, "max_model_len"):
        value = given.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int):
            if name == "max_model_len" and value in ("auto", -1):
                continue
            flag = name.replace("_", "-")
            raise bad_flag(f"vllm serve: error: argument --{flag}: invalid int value: {str(value)!r}")
    utilization = given.get("gpu_memory_utilization", 0.9)
    if isinstance(utilization, (bool, str)):
        raise bad_flag(
            f"vllm serve: error: argument --gpu-memory-utilization: invalid float value: {str(utilization)!r}"
        )
    dtype = given.get("kv_cache_dtype", "auto")
    if dtype not in KV_CACHE_DTYPES:
        allowed = ", ".join(KV_CACHE_DTYPES)
        message = f"argument --kv-cache-dtype: invalid choice: {str(dtype)!r} (choose from {allowed})"
        raise NotModelled(bad_flag(f"vllm serve: error: {message}").failure)


def _max_model_len(asked: Value | None, model: Model) -> int:
    if asked is None or isinstance(asked, str) or asked == -1:
        return model.max_positions
    if int(asked) > model.max_positions:
        raise bad_flag(
            f"Value error, User-specified max_model_len ({asked}) is greater than the derived max_model_len "
            f"(max_position_embeddings={model.max_positions} or model_max_length=None in model's config.json)."
        )
    if int(asked) < 1:
        raise bad_flag("1 validation error for ModelConfig: max_model_len: Input should be greater than or equal to 1")
    return int(asked)


def _batch(given: Mapping[str, Value], gpu: Gpu, max_model_len: int, chunked: bool) -> tuple[int, int]:
    """Only unset values are bent to fit the set ones (arg_utils of vLLM 0.32)."""
    seqs, tokens = batch_defaults(gpu)
    if "max_num_seqs" in given:
        seqs = int(given["max_num_seqs"])
    if "max_num_batched_tokens" in given:
        tokens = int(given["max_num_batched_tokens"])
    else:
        if not chunked:
            tokens = max(max_model_len, tokens)
        tokens = min(seqs * max_model_len, tokens) if seqs > 0 else tokens
    if "max_num_seqs" not in given:
        seqs = min(seqs, tokens) if tokens > 0 else seqs
    return seqs, tokens


def _speculation(given: Mapping[str, Value]) -> tuple[str, int]:
    method = str(given.get("speculative_method", ""))
    if method in _OFF:
        return "", 0
    if method.endswith("_mtp"):  # the older names, by model
        method = "mtp"
    if method not in SPECULATIVE_METHODS:
        allowed = ", ".join(f"'{name}'" for name in SPECULATIVE_METHODS)
        message = f"1 validation error for SpeculativeConfig: method: Input should be {allowed}"
        raise NotModelled(bad_flag(message).failure)
    if "num_speculative_tokens" not in given:
        raise bad_flag(
            "Value error, num_speculative_tokens must be provided with speculative model unless the draft model config "
            "contains an n_predict parameter."
        )
    drafted = int(given["num_speculative_tokens"])
    if drafted < 1:
        raise bad_flag(
            "1 validation error for SpeculativeConfig: num_speculative_tokens: Input should be greater than 0"
        )
    return method, drafted


def _refuse(settings: Settings, model: Model, gpu: Gpu, gpu_count: int) -> None:
    for check in (_refuse_scheduler, _refuse_cache, _refuse_parallel):
        check(settings, model, gpu, gpu_count)


def _refuse_scheduler(settings: Settings, *_: object) -> None:
    seqs, tokens = settings.max_num_seqs, settings.max_num_batched_tokens
    for name, value in (("max_num_batched_tokens", tokens), ("max_num_seqs", seqs)):
        if value < 1:
            raise bad_flag(
                f"1 validation error for SchedulerConfig: {name}: Input should be greater than or equal to 1"
            )
    if tokens < settings.max_model_len and not settings.enable_chunked_prefill:
        raise bad_flag(
            f"Value error, max_num_batched_tokens ({tokens}) is smaller than max_model_len ({settings.max_model_len}). "
            "This effectively limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject "
            "longer sequences. Please increase max_num_batched_tokens or decrease max_model_len."
        )
    if tokens < seqs:
        raise bad_flag(
            f"Value error, max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs})."
        )


def _refuse_cache(settings: Settings, _model: Model, gpu: Gpu, _gpu_count: int) -> None:
    if not 0 < settings.gpu_memory_utilization <= 1:
        bound = "greater than 0" if settings.gpu_memory_utilization <= 0 else "less than or equal to 1"
        raise bad_flag(f"1 validation error for CacheConfig: gpu_memory_utilization: Input should be {bound}")
    if settings.block_size % 16 or settings.block_size < 16:
        raise bad_flag(f"ValueError: No common block size for {settings.block_size} (FLASH_ATTN: [MultipleOf(16)]).")
    if settings.kv_cache_dtype in ("fp8", "fp8_e4m3") and gpu.compute_capability < 8.9:
        message = (
            "ValueError: type fp8e4nv not supported in this architecture. "
            "The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')"
        )
        raise TrialFailed(Failure(Cause.CRASH_AT_START, message, evidence=message))


def _refuse_parallel(settings: Settings, model: Model, _gpu: Gpu, gpu_count: int) -> None:
    size = settings.tensor_parallel_size
    if size < 1:
        raise bad_flag("1 validation error for ParallelConfig: tensor_parallel_size: Input should be greater than 0")
    if size > gpu_count:
        raise bad_flag(
            f"Value error, World size ({size}) is larger than the number of available GPUs ({gpu_count}) in this node."
        )
    if model.heads % size:
        raise bad_flag(
            f"Value error, Total number of attention heads ({model.heads}) must be divisible by tensor parallel size "
            f"({size})."
        )
