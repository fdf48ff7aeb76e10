"""Options that say what vLLM serves, to whom, and how it is watched: users rely on them, and none makes it faster."""

from __future__ import annotations

from tuner.engines.vllm.options import Option

_MODEL = "which model it serves and what that answers"
_WATCHED = "what it logs and counts"
_REACHED = "where it listens and who may call it"
_ANSWERS = "what clients may ask for and how they are answered"
_PLACED = "where its processes find each other"

#: Whole groups of vLLM's help.
_GROUPS = {
    "Frontend": f"{_REACHED}, {_ANSWERS}",
    "StructuredOutputsConfig": _ANSWERS,
    "LoadConfig": "where its weights come from",
    "LoggingConfig": _WATCHED,
    "ObservabilityConfig": _WATCHED,
}
#: The options of ModelConfig that are about speed; all others name the model or change its answers.
_OF_MODEL = frozenset(
    {
        "allow-deprecated-quantization",
        "disable-cascade-attn",
        "disable-sliding-window",
        "dtype",
        "enable-cumem-allocator",
        "enable-nccl-comm-suspend",
        "enforce-eager",
        "max-model-len",
        "model-impl",
        "quantization",
        "quantization-config",
        "renderer-num-workers",
        "use-fp64-gumbel",
    }
)
#: Single ones of groups that are about speed otherwise.
_OPTIONS = {
    **dict.fromkeys(("headless", "grpc"), _REACHED),
    **dict.fromkeys(("disable-log-stats", "aggregate-engine-logging", "enable-log-requests"), _WATCHED),
    **dict.fromkeys(("ray-workers-use-nsight", "profiler-config"), _WATCHED),
    **dict.fromkeys(("language-model-only", "limit-mm-per-prompt", "enable-mm-embeds"), _ANSWERS),
    **dict.fromkeys(("enable-lora", "default-mm-loras"), "which adapters it serves"),
    **dict.fromkeys(("master-addr", "master-port", "nnodes", "node-rank", "device-ids"), _PLACED),
    **dict.fromkeys(("data-parallel-rank", "data-parallel-start-rank"), _PLACED),
    **dict.fromkeys(("data-parallel-address", "data-parallel-rpc-port"), _PLACED),
    **dict.fromkeys(("worker-cls", "worker-extension-cls", "scheduler-cls"), "whose code it runs"),
    **dict.fromkeys(("config", "fail-on-environ-validation", "shutdown-timeout"), "how its server is run"),
}


def service(option: Option) -> str | None:
    """What an option says of the service; None where it is about speed."""
    if option.group == "ModelConfig":
        return None if option.name in _OF_MODEL else _MODEL
    return _GROUPS.get(option.group) or _OPTIONS.get(option.name)
