"""The planner against public start-up logs of real engines."""

from __future__ import annotations

import csv
import os
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tuner.core.cause import Cause
from tuner.core.hardware import EngineFacts, Gpu, Model
from tuner.simulator.catalogue import MODELS
from tuner.simulator.memory import MemoryPlan, calibrate, constants_for, plan
from tuner.simulator.settings import Settings

ROOT = os.environ.get("TUNER_REFERENCE_DATA")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not ROOT, reason="TUNER_REFERENCE_DATA names no folder with the reference data"),
]

LLAMA_8B, LLAMA_70B = MODELS["Llama-3.1-8B"], MODELS["Llama-3.1-70B"]
# Shapes from the models' config.json: layers, hidden, heads, kv heads, head size, feed-forward, vocabulary, positions.
SHAPES = {
    "unsloth/Meta-Llama-3.1-8B-Instruct": LLAMA_8B,
    "unsloth/Meta-Llama-3.1-8B-Instruct + draft Llama-3.2-1B": LLAMA_8B,
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA_8B,
    "meta-llama/Meta-Llama-3-8B-Instruct": LLAMA_8B,
    "meta-llama/Llama-3.1-8B": LLAMA_8B,
    "Llama-3.1-8B": LLAMA_8B,
    "Llama-3.3-70B-FP8": LLAMA_70B,
    "Qwen/Qwen3-32B": MODELS["Qwen3-32B"],
    "Qwen/Qwen3-0.6B": Model("q", 28, 1024, 16, 8, 128, 3072, 151936, 40960, tied_embeddings=True),
    "moonshotai/Kimi-Dev-72B": Model("k", 80, 8192, 64, 8, 128, 29568, 152064, 131072),
    "ibm-granite/granite-3.1-2b-instruct": Model("g", 40, 2048, 32, 8, 64, 8192, 49155, 131072, tied_embeddings=True),
    "ibm-granite/granite-3.1-8b-instruct": Model("g", 40, 4096, 32, 8, 128, 12800, 49155, 131072, tied_embeddings=True),
    "ibm-granite/granite-3.3-8b-instruct": Model("g", 40, 4096, 32, 8, 128, 12800, 49159, 131072, tied_embeddings=True),
    "codellama/CodeLlama-7b-hf": Model("c", 32, 4096, 32, 32, 128, 11008, 32016, 16384),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": Model("d", 48, 5120, 40, 8, 128, 13824, 152064, 131072),
}
COMPUTE_CAPABILITY = {"A100": 8.0, "L4": 8.9, "RTX4090": 8.9}


@dataclass(frozen=True)
class Log:
    """One row whose model, GPU and engine are known well enough to be predicted."""

    row: dict[str, str]
    model: Model
    gpu: Gpu
    settings: Settings

    @property
    def group(self) -> tuple[str, ...]:
        return (self.row["vllm_version"], self.gpu.name, self.row["model"], self.row["dtype_quant"])

    @property
    def tokens(self) -> float:
        """Logged tokens, or what the logged pool holds."""
        if self.row["logged_kv_tokens"]:
            return float(self.row["logged_kv_tokens"])
        return float(self.row["logged_kv_gib"]) * 2**30 / self.plan().kv_bytes_per_token

    @property
    def complete(self) -> bool:
        return bool(self.row["max_num_seqs"] and self.row["max_num_batched_tokens"])

    def plan(self) -> MemoryPlan:
        return plan(self.model, self.gpu, self.settings)

    def facts(self) -> EngineFacts:
        def number(name: str) -> float | None:
            return float(self.row[name]) if self.row[name] else None

        tokens = self.row["logged_kv_tokens"]
        return EngineFacts(
            engine="vllm",
            kv_cache_tokens=int(tokens) if tokens else None,
            weights_gib=number("weights_gib"),
            activation_gib=number("activation_gib"),
            non_torch_gib=number("non_torch_gib"),
            graphs_gib=number("cudagraph_gib") if (number("cudagraph_gib") or 0) > 0 else None,
            kv_cache_gib=number("logged_kv_gib"),
        )


def _log(row: dict[str, str]) -> Log | None:
    if row["engine"] != "vllm" or row["model"] not in SHAPES or row["pp"] not in ("", "1"):
        return None
    if not (row["gpu_mem_gib"] and row["gpu_memory_utilization"]) or row["dtype_quant"] == "float32":
        return None
    model = SHAPES[row["model"]]
    if "fp8" in row["dtype_quant"]:
        model = replace(model, weight_bytes=1.0)
    name = row["gpu"].split("-")[0]
    gpu = Gpu(row["gpu"], float(row["gpu_mem_gib"]), 2.0, 312.0, None, COMPUTE_CAPABILITY.get(name, 9.0))
    large = gpu.memory_gib >= 70 and name != "A100"
    spec = "draft_model" if "spec=draft" in row["notes"] or "+ draft" in row["model"] else ""
    version = row["vllm_version"].lstrip("~").split(" ")[0]
    settings = Settings(
        max_num_seqs=int(row["max_num_seqs"] or (1024 if large else 256)),
        max_num_batched_tokens=int(row["max_num_batched_tokens"] or (8192 if large else 2048)),
        gpu_memory_utilization=float(row["gpu_memory_utilization"]),
        max_model_len=int(row["max_model_len"] or 8192),
        kv_cache_dtype=row["kv_dtype"],
        tensor_parallel_size=int(row["tp"] or 1),
        speculative_method=spec,
        num_speculative_tokens=4 if spec else 0,
        version=version,
    )
    return Log(row, model, gpu, settings)


@pytest.fixture(scope="module")
def logs() -> list[Log]:
    path = Path(ROOT or "") / "truth" / "memory.csv"
    with path.open(newline="", encoding="utf-8") as file:
        found = [log for row in csv.DictReader(file) if (log := _log(row))]
    assert len(found) > 30
    return found


def _started(logs: list[Log]) -> list[Log]:
    return [
        log for log in logs if log.row["outcome"] == "ok" and (log.row["logged_kv_tokens"] or log.row["logged_kv_gib"])
    ]


def _describe(errors: list[float]) -> str:
    absolute = sorted(map(abs, errors))
    return (
        f"{len(errors)} logs: median {statistics.median(absolute):.2%}, p90 {absolute[int(0.9 * len(absolute))]:.2%}, "
        f"worst {absolute[-1]:.2%}"
    )


def test_tokens_are_predicted_blind(logs: list[Log]) -> None:
    errors = [log.plan().kv_tokens / log.tokens - 1 for log in _started(logs) if log.complete]
    print("blind, complete rows:", _describe(errors))
    absolute = sorted(map(abs, errors))
    assert statistics.median(absolute) < 0.02
    assert absolute[int(0.9 * len(absolute))] < 0.05


def test_one_log_of_the_same_engine_version_calibrates_the_rest(logs: list[Log]) -> None:
    groups: dict[tuple[str, ...], list[Log]] = defaultdict(list)
    for log in _started(logs):
        groups[log.group].append(log)
    errors: dict[bool, list[float]] = {True: [], False: []}
    for (version, *_), members in groups.items():
        for known in members:
            for other in members:
                same = known.settings.tensor_parallel_size == other.settings.tensor_parallel_size
                if other is known or not same or other.settings.speculative_method != known.settings.speculative_method:
                    continue
                learnt = calibrate(constants_for(version), known.facts(), known.settings, known.model, known.gpu)
                predicted = plan(other.model, other.gpu, other.settings, learnt)
                errors[version == "0.19.0"].append(predicted.kv_tokens / other.tokens - 1)
    print("after one log, 0.19:", _describe(errors[True]))
    print("after one log, others:", _describe(errors[False]))
    assert max(map(abs, errors[True])) < 0.005
    assert statistics.median(map(abs, errors[False])) < 0.02


def test_no_engine_that_started_is_screened(logs: list[Log]) -> None:
    wrong = [log.row["source"] for log in _started(logs) if (p := log.plan()).refusal is not None and p.certain]
    assert wrong == []


def test_engines_short_of_cache_are_told_so(logs: list[Log]) -> None:
    short = [log for log in logs if log.row["outcome"] == "kv_too_small"]
    assert short
    for log in short:
        refusal = log.plan().refusal
        assert refusal is not None
        assert refusal.cause is Cause.KV_CACHE_TOO_SMALL


@pytest.mark.parametrize(("parallel", "utilization", "fails"), [(1, 0.95, True), (2, 0.95, True), (2, 0.90, False)])
def test_the_samplers_warm_up_fails_where_it_did(parallel: int, utilization: float, fails: bool) -> None:
    """gpt-oss-20b with 1024 sequences on H100, vLLM 0.19: its pool was sized and logged before the sampler ran out.

    The logged terms are used, since its hybrid attention can't be planned.
    """
    model = Model("gpt-oss-20b", 24, 2880, 64, 8, 64, 2880, 201088, 131072, experts=32, active_experts=4)
    gpu = Gpu("H100", 79.19, 3.35, 989.0, None, 9.0)
    settings = Settings(1024, 8192, utilization, 8192, tensor_parallel_size=parallel, version="0.19.0")
    weights, graphs = (13.64, 1.84) if parallel == 1 else (7.01, 1.55)
    non_torch = 0.25 if parallel == 1 else 2.07
    facts = EngineFacts("vllm", weights_gib=weights, activation_gib=2.87, non_torch_gib=non_torch, graphs_gib=graphs)
    p = plan(model, gpu, settings, calibrate(constants_for("0.19.0"), facts, settings, model, gpu))
    assert (p.refusal is not None) == fails
    if p.refusal is not None:
        assert "warming up sampler with 1024 dummy requests" in p.refusal.message
