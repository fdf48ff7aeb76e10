"""Options that vLLM no longer has (or will lose), since when, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tuner.engines.vllm.options import Option, Version, options, version_of

#: From this version on --speculative-config is the way to ask for speculation, and the separate flags are gone
#: (vllm-project/vllm#14434, #15466).
SPECULATIVE_CONFIG_SINCE: Version = (0, 8, 3)


@dataclass(frozen=True)
class Past:
    """One option that went away. `removed` is the first release seen without it; None: gone by the newest table.

    `instead` is what to write; "" says that the option can be left out; None that its value must be carried over by
    hand, as `why` explains.
    """

    option: Option
    removed: str | None
    why: str
    instead: str | None = ""

    def gone(self, version: str | None) -> bool:
        """Whether `version` (None: the newest) is without it."""
        now, then = version_of(version), version_of(self.removed or options().version)
        return now is None or then is None or now >= then


_JSON = "it is a key of --speculative-config now"
_V0 = "it belonged to the old V0 engine and has no successor"


def _past(name: str, type_: str, removed: str | None, why: str, instead: str | None = "") -> Past:
    return Past(Option(name, type_), removed, why, instead)


_PAST = (
    _past("speculative-model", "str", "0.8.3", _JSON, None),
    _past("num-speculative-tokens", "int", "0.8.3", _JSON, None),
    _past("speculative-draft-tensor-parallel-size", "int", "0.8.3", _JSON, None),
    _past("speculative-model-quantization", "str", "0.8.3", _JSON, None),
    _past("speculative-max-model-len", "int", "0.8.3", _JSON, None),
    _past("speculative-disable-by-batch-size", "int", "0.8.3", _JSON, None),
    _past("speculative-disable-mqa-scorer", "switch", "0.8.3", _JSON, None),
    _past("ngram-prompt-lookup-max", "int", "0.8.3", _JSON, None),
    _past("ngram-prompt-lookup-min", "int", "0.8.3", _JSON, None),
    _past("spec-decoding-acceptance-method", "str", "0.8.3", _JSON, None),
    _past("typical-acceptance-sampler-posterior-threshold", "float", "0.8.3", _JSON, None),
    _past("typical-acceptance-sampler-posterior-alpha", "float", "0.8.3", _JSON, None),
    _past("disable-logprobs-during-spec-decoding", "switch", "0.8.3", _JSON, None),
    _past(
        "disable-log-requests",
        "bool",
        "0.12.0",
        "requests are not logged unless --enable-log-requests asks for it",
    ),
    _past(
        "swap-space", "float", "0.18.0", "nothing is swapped to host memory any more; preempted requests are recomputed"
    ),
    _past("preemption-mode", "str", None, "preempted requests are always recomputed"),
    _past("use-v2-block-manager", "switch", None, "the second block manager became the only one"),
    _past("num-scheduler-steps", "int", "0.11.0", "multi-step scheduling is gone; see --async-scheduling"),
    _past("multi-step-stream-outputs", "str", None, "multi-step scheduling is gone"),
    _past("num-lookahead-slots", "int", None, _V0),
    _past("scheduler-delay-factor", "float", None, _V0),
    _past("max-seq-len-to-capture", "int", None, "see --max-cudagraph-capture-size, which counts a batch", None),
    _past("cuda-graph-sizes", "str", None, "it was renamed", "--cudagraph-capture-sizes"),
    _past("device", "str", "0.15.0", "the device is found by the platform"),
    _past("task", "str", None, "it was split into --runner and --convert; generation is the default", None),
    _past("worker-use-ray", "switch", None, "it was renamed", "--distributed-executor-backend=ray"),
    _past("engine-use-ray", "switch", None, _V0),
    _past("disable-frontend-multiprocessing", "switch", None, _V0),
    _past("enable-reasoning", "bool", None, "--reasoning-parser alone turns it on"),
    _past("guided-decoding-backend", "str", None, "it was renamed", "--structured-outputs-config.backend={value}"),
    _past("rope-scaling", "json", None, "it is part of --hf-overrides now", None),
    _past("rope-theta", "float", None, "it is part of --hf-overrides now", None),
    _past("quantization-param-path", "str", None, "scaling factors come from the checkpoint"),
    _past("lora-extra-vocab-size", "int", None, "adapters may not add words any more"),
    _past("long-lora-scaling-factors", "str", None, "it has no successor"),
    _past("enable-prompt-adapter", "switch", None, _V0),
    _past("max-prompt-adapters", "int", None, _V0),
    _past("max-prompt-adapter-token", "int", None, _V0),
    _past("max-context-len-to-capture", "int", None, "see --max-cudagraph-capture-size, which counts a batch", None),
    _past("disable-async-output-proc", "switch", None, "see --no-async-scheduling"),
    _past("disable-mm-preprocessor-cache", "bool", None, "it was replaced", "--mm-processor-cache-gb=0"),
)

#: Still accepted, without effect, and about to go: name -> (gone from, why).
DEPRECATED = {"disable-cascade-attn": ("0.33.0", "it has no effect any more")}


@cache
def past() -> dict[str, Past]:
    """Options that once were, by name; a name that the newest table has again is not among them."""
    return {entry.option.name: entry for entry in _PAST if options().find(entry.option.name) is None}
