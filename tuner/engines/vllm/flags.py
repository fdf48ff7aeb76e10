"""Knobs as vLLM's command line spells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from tuner.core.errors import InvalidInput
from tuner.core.flags import FlagEdit, FlagSyntax, FlagUse
from tuner.core.knob import Candidate, Value
from tuner.engines.vllm import speculation
from tuner.engines.vllm.history import past
from tuner.engines.vllm.options import Option, Version, convert, options, version_of
from tuner.engines.vllm.service import service

#: Options that are read as knobs; the two knobs of speculation are read beside them.
TUNABLES = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "block_size",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "tensor_parallel_size",
)
#: Other options that change what a candidate means: planning needs them, nothing secret is among them.
PLANNING = (
    "model",
    "max_model_len",
    "dtype",
    "quantization",
    "enforce_eager",
    "kv_cache_memory_bytes",
    "num_gpu_blocks_override",
    "pipeline_parallel_size",
    "data_parallel_size",
    "max_num_active_seqs",
    "max_num_scheduled_tokens",
    "max_num_queued_reqs",
    "max_num_queued_tokens",
    "long_prefill_token_threshold",
    "performance_mode",
    "optimization_level",
    "scheduling_policy",
    "async_scheduling",
    "stream_interval",
    "max_cudagraph_capture_size",
    "cpu_offload_gb",
    "load_format",
    "seed",
)
DEFAULT_PORT = 8000
#: Older versions have no --no-FLAG: a flag that is left out is off.
_NEGATIONS_SINCE: Version = (0, 8)


@cache
def syntax() -> FlagSyntax:
    """The grammar of every version: today's options, and those that went away.

    Knowing more than one version's options is right for reading (a removed flag's value is not a stray word); `check`
    tells which of them a version takes.
    """
    known = [option.spec for option in options().options]
    gone = [entry.option.spec for entry in past().values()]
    return FlagSyntax((*known, *gone))


def port(uses: Sequence[FlagUse]) -> int:
    """The last --port, else 8000. Raises InvalidInput."""
    option = _option("port")
    values = [_value(use, option) for use in uses if use.known_as == option.name]
    return int(values[-1]) if values else DEFAULT_PORT


def spell(
    candidate: Candidate, baseline: Candidate, fixed: Mapping[str, Value] | None = None, version: str | None = None
) -> list[FlagEdit]:
    """See Engine.spell. Raises InvalidInput for a knob that is no option of vLLM, or a value that it can't have."""
    edits: list[FlagEdit] = []
    now = version_of(version)
    for name in sorted({*candidate, *baseline} - {speculation.METHOD, speculation.TOKENS}):
        off_by_default = now is not None and now < _NEGATIONS_SINCE and candidate.get(name) is False
        if name not in candidate or off_by_default:
            edits.append(FlagEdit(_option(name).spec, None))
        elif name not in baseline or candidate[name] != baseline[name]:
            edits.append(FlagEdit(_option(name).spec, _text(_option(name), candidate[name])))
    if not speculation.same(candidate, baseline):
        edits += speculation.edits(candidate, baseline, fixed or {}, version)
    return edits


def knobs(flag: str) -> tuple[str, ...]:
    """See Engine.knobs."""
    if flag in speculation.FLAGS:
        return speculation.METHOD, speculation.TOKENS
    option = options().find(flag)
    return (option.dest,) if option is not None else ()


def settings() -> tuple[str, ...]:
    """See Engine.settings."""
    return tuple(option.dest for option in options().options)


def says_of_service(setting: str) -> str | None:
    """See Engine.service."""
    return service(_option(setting))


def misfit(knob: str, value: Value) -> str | None:
    """See Engine.misfit."""
    option = _option(knob)
    if option.boolean:
        return None if isinstance(value, bool) else f"--{option.name} takes no value; allowed: true or false"
    if isinstance(value, bool):
        return f"--{option.name} takes a value"
    try:
        convert(option, str(value))
    except ValueError as allowed:
        return f"--{option.name} must be {allowed}"
    return None


def _text(option: Option, value: Value) -> str | bool:
    if (why := misfit(option.dest, value)) is not None:
        raise InvalidInput(f"{option.dest}={value!r}: {why}")
    return value if isinstance(value, bool) else str(value)


def read(uses: Sequence[FlagUse]) -> tuple[Candidate, dict[str, Value]]:
    """See Engine.read."""
    values: dict[str, Value] = {}
    problems: list[str] = []
    for use in uses:
        option = options().of_knob(use.known_as)
        if option is None or option.dest not in (*TUNABLES, *PLANNING):
            continue
        if option.dest in PLANNING and option.boolean and not isinstance(use.value, bool):
            continue  # the engine refuses "--enforce-eager=false"; `check` says so
        try:
            values[option.dest] = _value(use, option)
        except InvalidInput as error:
            problems += error.problems
    spec_knobs: dict[str, Value] = {}
    spec_rest: dict[str, Value] = {}
    try:
        spec_knobs, spec_rest = speculation.knobs_of(speculation.config_of(uses))
    except InvalidInput as error:
        problems += error.problems
    if problems:
        raise InvalidInput(*problems)
    knobs = {name: value for name, value in values.items() if name in TUNABLES}
    rest = {name: value for name, value in values.items() if name in PLANNING}
    return Candidate.of({**knobs, **spec_knobs}), rest | spec_rest


def last(uses: Iterable[FlagUse], name: str) -> FlagUse | None:
    """The use of an option that counts."""
    found = [use for use in uses if use.known_as == name and whole(use)]
    return found[-1] if found else None


def whole(use: FlagUse) -> bool:
    """False for one key of a JSON option (--speculative-config.method)."""
    return "." not in use.name


def _option(knob: str) -> Option:
    option = options().of_knob(knob)
    if option is None:
        raise InvalidInput(f"{knob!r} is not an option of vLLM {options().version}")
    return option


def _value(use: FlagUse, option: Option) -> Value:
    """A use's value by the option's type. Raises InvalidInput."""
    if option.boolean:
        if isinstance(use.value, bool):
            return use.value
        # What old versions took, and current ones refuse at their start: `check` says which.
        if use.name == option.name and str(use.value).lower() in ("true", "false"):
            return str(use.value).lower() == "true"
        raise InvalidInput(f"{use.text}: --{option.name} takes no value")
    if not isinstance(use.value, str):
        raise InvalidInput(f"{use.text}: a value is missing")
    try:
        return convert(option, use.value)
    except ValueError as allowed:
        raise InvalidInput(
            f"{use.text}: {use.value!r} is not allowed for --{option.name}; it must be {allowed}"
        ) from None
