"""Speculative decoding: two knobs here, one JSON value (or its parts, in several spellings) on vLLM's command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache

from tuner.core.errors import InvalidInput
from tuner.core.flags import FlagEdit, FlagSpec, FlagUse
from tuner.core.knob import Value
from tuner.engines.vllm.history import SPECULATIVE_CONFIG_SINCE, past
from tuner.engines.vllm.options import options, version_of

METHOD, TOKENS = "speculative_method", "num_speculative_tokens"
OFF = "off"
#: The planning setting that holds all of --speculative-config but method and token count, as JSON text.
REST = "speculative_config"

CONFIG = "speculative-config"
#: Flags that are one key each: the short-cuts of recent versions, and the ways before --speculative-config.
_PARTS = {
    "spec-method": "method",
    "spec-model": "model",
    "spec-tokens": "num_speculative_tokens",
    "num-speculative-tokens": "num_speculative_tokens",
    "speculative-model": "model",
    "speculative-draft-tensor-parallel-size": "draft_tensor_parallel_size",
    "speculative-model-quantization": "quantization",
    "speculative-max-model-len": "max_model_len",
    "speculative-disable-by-batch-size": "disable_by_batch_size",
    "ngram-prompt-lookup-max": "prompt_lookup_max",
    "ngram-prompt-lookup-min": "prompt_lookup_min",
}
FLAGS = frozenset({*_PARTS, CONFIG})
_INT_KEYS = frozenset(_PARTS.values()) - {"method", "model", "quantization"}
#: Methods that can't work without weights of their own.
_NEED_MODEL = frozenset({"draft_model", "eagle", "eagle3", "medusa", "mlp_speculator"})
#: What n-gram drafting looks for where nobody said (the values under which it was tried on 0.32).
_NGRAM = {"prompt_lookup_max": 4, "prompt_lookup_min": 2}


def config_of(uses: Iterable[FlagUse]) -> dict[str, object]:
    """The speculative configuration of a command line, from whichever spelling it uses; {} where it has none.

    The last use wins; dotted keys are merged over the JSON, as vLLM does. Raises InvalidInput for bad JSON.
    """
    whole: dict[str, object] = {}
    parts: dict[str, object] = {}
    for use in uses:
        name = use.known_as
        key = use.name.partition(".")[2]
        if name == CONFIG:
            if key:
                parts |= _part(key, use)
            else:
                whole = _json(use)
        elif name in _PARTS:
            parts |= _part(_PARTS[name], use)
    return _normal(whole | parts)


def _json(use: FlagUse) -> dict[str, object]:
    try:
        value = json.loads(use.value if isinstance(use.value, str) else "")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput(f"{use.text}: --speculative-config must be a JSON object, found {use.value!r}")
    return value


def _part(key: str, use: FlagUse) -> dict[str, object]:
    if not isinstance(use.value, str):
        raise InvalidInput(f"{use.text}: a value is missing")
    if key not in _INT_KEYS:
        return {key: use.value}
    try:
        return {key: int(use.value)}
    except ValueError:
        raise InvalidInput(f"{use.text}: {use.value!r} is not an integer") from None


def _normal(config: dict[str, object]) -> dict[str, object]:
    """With a method: older versions told n-gram by the model's name, and a draft model by its presence."""
    if config.get("model") in ("ngram", "[ngram]"):
        config = {key: value for key, value in config.items() if key != "model"} | {"method": "ngram"}
    if config.get("method") in ("ngram", "[ngram]"):
        config = config | {"method": "ngram"}
    elif "model" in config and config.get("method") is None:
        config = config | {"method": "draft_model"}
    return config


def knobs_of(config: Mapping[str, object]) -> tuple[dict[str, Value], dict[str, Value]]:
    """The two knobs, and the rest as planning settings; both empty without a configuration."""
    if not config:
        return {}, {}
    knobs: dict[str, Value] = {}
    if isinstance(config.get("method"), str):
        knobs[METHOD] = str(config["method"])
    tokens = config.get("num_speculative_tokens")
    if isinstance(tokens, int):
        knobs[TOKENS] = tokens
    rest = {key: value for key, value in config.items() if key not in ("method", "num_speculative_tokens")}
    return knobs, {REST: json.dumps(rest, separators=(",", ":"), sort_keys=True)} if rest else {}


def off(knobs: Mapping[str, Value]) -> bool:
    """Whether these knobs ask for no speculation (which is also the default)."""
    return knobs.get(METHOD, OFF) == OFF or knobs.get(TOKENS) == 0


def same(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    """Whether two sets of knobs ask for the same speculation."""
    return (off(one) and off(other)) or [one.get(k) for k in (METHOD, TOKENS)] == [
        other.get(k) for k in (METHOD, TOKENS)
    ]


def edits(
    knobs: Mapping[str, Value], before: Mapping[str, Value], fixed: Mapping[str, Value], version: str | None
) -> list[FlagEdit]:
    """The edits that make a command line that asked for `before` ask for `knobs`, whichever its spelling.

    `fixed` are the planning settings read from it (a draft model stays the one it was). Raises InvalidInput where the
    method needs a draft model and none is known.
    """
    wanted: dict[str, str] = {}
    if not off(knobs):
        values = _values(knobs, before, fixed)
        now = version_of(version)
        old = now is not None and now < SPECULATIVE_CONFIG_SINCE
        wanted = _old_flags(values) if old else {CONFIG: json.dumps(values, separators=(",", ":"))}
    # Where nothing was asked for before, there is nothing to take away.
    flags = [flag for flag in _all_flags() if flag.name in wanted or not off(before)]
    return [FlagEdit(flag, wanted.get(flag.name)) for flag in flags]


@cache
def _all_flags() -> tuple[FlagSpec, ...]:
    known = (options().find(name) or past()[name].option for name in (*_PARTS, CONFIG))
    return tuple(option.spec for option in known)


def _values(knobs: Mapping[str, Value], before: Mapping[str, Value], fixed: Mapping[str, Value]) -> dict[str, object]:
    method = str(knobs[METHOD])
    rest: dict[str, object] = json.loads(str(fixed.get(REST, "{}")))
    # What was there belongs to the method that was there: lookup lengths to n-gram, a model to everything else.
    if method == "ngram":
        rest = {key: value for key, value in rest.items() if key not in ("model", "quantization")}
        if before.get(METHOD) != "ngram":
            rest = _NGRAM | rest
    else:
        rest = {key: value for key, value in rest.items() if key not in _NGRAM}
    if method in _NEED_MODEL and "model" not in rest:
        raise InvalidInput(
            f"{METHOD}={method} needs a draft model: name it in the engine's own flags, "
            '--speculative-config={"model": ...}, or leave the method out of the search space'
        )
    values: dict[str, object] = {"method": method}
    if TOKENS in knobs:
        values["num_speculative_tokens"] = knobs[TOKENS]
    return values | rest


def _old_flags(values: Mapping[str, object]) -> dict[str, str]:
    """The spelling before --speculative-config: a flag for each key."""
    flags = {key: name for name, key in _PARTS.items() if not name.startswith("spec-")}
    wanted = {key: value for key, value in values.items() if key != "method"}
    if values["method"] == "ngram":
        wanted["model"] = "[ngram]"
    return {flags[key]: str(value) for key, value in wanted.items() if key in flags}
