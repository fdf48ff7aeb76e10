"""Targets and spaces that the tests of this room share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate, Value
from tuner.core.target import TargetInfo
from tuner.search import Space, load_space
from tuner.simulator.catalogue import find_gpu, find_model

LLAMA = find_model("Llama-3.1-8B")
H100 = find_gpu("H100")
A100 = find_gpu("A100-80")


def target(
    *,
    gpu: Gpu | None = H100,
    model: Model | None = LLAMA,
    gpu_count: int = 1,
    version: str | None = "0.30.0",
    baseline: Mapping[str, Value] | None = None,
    max_model_len: int = 8192,
    on_cpu: bool = False,
) -> TargetInfo:
    return TargetInfo(
        name="prod/llama",
        engine="vllm",
        version=version,
        model="llama",
        model_shape=model,
        gpu=gpu,
        gpu_count=gpu_count,
        baseline=Candidate.of(baseline or {}),
        fixed={"max_model_len": max_model_len},
        on_cpu=on_cpu,
    )


def cpu_target(**changes: Any) -> TargetInfo:
    return target(gpu=None, model=None, on_cpu=True, version="0.32.0+cpu", max_model_len=2048, **changes)


def whole_space(info: TargetInfo | None = None) -> Space:
    """Every knob of vLLM that one GPU allows."""
    return load_space("vllm", info or target(), allow_output_change=True, real_text=True)


def small_space(edits: Mapping[str, object] | None = None) -> Space:
    """Two knobs, few values: can be searched to its end."""
    names = ("enable_prefix_caching", "enable_chunked_prefill", "block_size", "gpu_memory_utilization")
    dropped: dict[str, object] = dict.fromkeys(names, "drop")
    few: dict[str, object] = {"max_num_seqs": [32, 64, 128], "max_num_batched_tokens": [64, 512, 2048]}
    return load_space("vllm", target(), {**dropped, **few, **(edits or {})})


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
