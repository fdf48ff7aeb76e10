"""A command-line grammar in the manner of vLLM's, small enough to see at once."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.core.flags import FlagSpec, FlagSyntax

MODEL = FlagSpec("model")
SEQS = FlagSpec("max-num-seqs")
BATCH = FlagSpec("max-num-batched-tokens")
LENGTH = FlagSpec("max-model-len")
MEMORY = FlagSpec("gpu-memory-utilization", aliases=("device-memory-utilization",))
DTYPE = FlagSpec("kv-cache-dtype")
TP = FlagSpec("tensor-parallel-size", short=("tp",))
SPEC = FlagSpec("speculative-config", short=("sc",))
LEVEL = FlagSpec("optimization-level", short=("O",))
SERVED = FlagSpec("served-model-name", several=True)
PORT = FlagSpec("port")
EAGER = FlagSpec("enforce-eager", boolean=True)
PREFIX = FlagSpec("enable-prefix-caching", boolean=True, negation="no-enable-prefix-caching")
CHUNKED = FlagSpec("enable-chunked-prefill", boolean=True, negation="no-enable-chunked-prefill")
CONFIG = FlagSpec("config")

SYNTAX = FlagSyntax(
    (MODEL, SEQS, BATCH, LENGTH, MEMORY, DTYPE, TP, SPEC, LEVEL, SERVED, PORT, EAGER, PREFIX, CHUNKED, CONFIG)
)


def owns(image: str, argv: Sequence[str]) -> bool:
    """Whether a container is vLLM's server, by image or by command."""
    text = " ".join(argv)
    return "vllm-openai" in image or "vllm serve" in text or "vllm.entrypoints" in text
