"""What is wrong with the flags of a vLLM command line, and what to write instead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import cache

from tuner.core.errors import InvalidInput
from tuner.core.flags import FlagUse
from tuner.engines.engine import FlagAdvice
from tuner.engines.vllm import speculation
from tuner.engines.vllm.flags import last, whole
from tuner.engines.vllm.history import DEPRECATED, SPECULATIVE_CONFIG_SINCE, Past, past
from tuner.engines.vllm.options import Option, convert, options, version_of

#: Options that came later than some images that are still in use.
_SINCE = {"speculative-config": SPECULATIVE_CONFIG_SINCE, "enable-log-requests": (0, 10, 1)}
#: Options that took KEY=VALUE before they took JSON alone (vllm-project/vllm#21615).
_JSON_SINCE = {"limit-mm-per-prompt": (0, 10)}
#: Booleans that were written --FLAG=true and --FLAG=false before.
_VALUED_UNTIL = {"enable-chunked-prefill": (0, 8)}


def check(uses: Sequence[FlagUse], version: str | None) -> list[FlagAdvice]:
    """See Engine.check. In the order of the command line, then what is wrong between flags."""
    advice = [entry for use in uses for entry in _of_use(use, uses, version)]
    return advice + list(_duplicates(uses)) + list(_relations(uses))


def _of_use(use: FlagUse, uses: Sequence[FlagUse], version: str | None) -> Iterator[FlagAdvice]:
    name = use.known_as
    if name in past():
        yield _of_past(past()[name], use, uses, version)
        return
    option = options().find(name.split(".", 1)[0])
    if option is None:
        yield _unknown(use, version)
        return
    if name in DEPRECATED:
        gone, why = DEPRECATED[name]
        yield FlagAdvice(use.text, f"{why}, and vLLM {gone} no longer knows it", "leave it out", later=True)
    now, since = version_of(version), _SINCE.get(option.name)
    if now is not None and since is not None and now < since:
        yield FlagAdvice(use.text, f"vLLM {_said(version)} does not know it yet (new in {'.'.join(map(str, since))})")
    if name == option.name and whole(use):
        yield from _value_problems(use, option, version)


def _of_past(entry: Past, use: FlagUse, uses: Sequence[FlagUse], version: str | None) -> FlagAdvice:
    instead = entry.instead
    if entry.instead is None:
        instead = _speculation_instead(uses) if _is_speculation(entry) else None
    elif entry.instead == "":
        instead = "leave it out"
    elif isinstance(use.value, str):
        instead = entry.instead.format(value=use.value)
    when = f"removed in {entry.removed}" if entry.removed else f"gone by {options().version}"
    if entry.gone(version):
        problem = f"vLLM {_said(version)} does not know --{entry.option.name} ({when}) and stops with exit code 2"
        shadow = _shadow(entry.option.name)
        if shadow:
            problem = f"vLLM {_said(version)} has no --{entry.option.name} ({when}) and takes it for --{shadow}"
    else:
        problem = f"vLLM {_said(version)} takes it, current versions do not ({when})"
    return FlagAdvice(use.text, f"{problem}: {entry.why}", instead, later=not entry.gone(version))


@cache
def _shadow(name: str) -> str | None:
    """The one option of today that argparse would take this old name for, as an abbreviation."""
    found = {
        longer for option in options().options for longer in (option.name, *option.aliases) if longer.startswith(name)
    }
    return found.pop() if len(found) == 1 else None


def _is_speculation(entry: Past) -> bool:
    return entry.removed == ".".join(map(str, SPECULATIVE_CONFIG_SINCE))


def _speculation_instead(uses: Sequence[FlagUse]) -> str | None:
    """All old flags of speculation in today's one."""
    try:
        config = speculation.config_of(uses)
    except InvalidInput:
        return None
    ordered = {key: config[key] for key in ("method", "model", "num_speculative_tokens") if key in config} | config
    return "--speculative-config=" + json.dumps(ordered, separators=(",", ":")) if ordered else None


def _unknown(use: FlagUse, version: str | None) -> FlagAdvice:
    name = use.name
    candidates = sorted({option.name for option in _starting_with(name)}) if name else []
    if len(candidates) > 1:
        return FlagAdvice(use.text, f"ambiguous: could be {', '.join('--' + entry for entry in candidates[:6])}")
    problem = f"vLLM {_said(version)} does not know it"
    now, newest = version_of(version), version_of(options().version)
    if now is not None and newest is not None and now > newest:
        problem = f"not known up to vLLM {options().version}"
    close = difflib.get_close_matches(name, _names(), n=1, cutoff=0.75)
    if not close:
        return FlagAdvice(use.text, problem)
    value = f"={use.value}" if isinstance(use.value, str) else ""
    return FlagAdvice(use.text, f"{problem}; did you mean --{close[0]}?", f"--{close[0]}{value}")


def _starting_with(name: str) -> list[Option]:
    return [option for option in options().options if any(n.startswith(name) for n in (option.name, *option.aliases))]


@cache
def _names() -> list[str]:
    return [
        name
        for option in options().options
        for name in (option.name, *option.aliases, *((f"no-{option.name}",) if option.type == "bool" else ()))
    ]


def _value_problems(use: FlagUse, option: Option, version: str | None) -> Iterator[FlagAdvice]:
    if option.boolean:
        if isinstance(use.value, str) and not _took_it(option, use.value, version):
            yield FlagAdvice(
                use.text,
                f"takes no value: the engine stops with exit code 2 at {use.value!r}",
                _of_switch(option, use.value),
            )
        return
    if not isinstance(use.value, str):
        yield FlagAdvice(use.text, "a value is missing")
        return
    if "$(" in use.value or "${" in use.value or (option.many and option.choices):
        return
    if option.type == "json":
        yield from _json_problems(use, option, version)
        return
    for text in use.value.split() if option.many else [use.value]:
        yield from _text_problems(use, option, text)


def _text_problems(use: FlagUse, option: Option, text: str) -> Iterator[FlagAdvice]:
    try:
        convert(option, text)
    except ValueError as allowed:
        close = difflib.get_close_matches(text, option.choices, n=1)
        yield FlagAdvice(
            use.text,
            f"{text!r} is not allowed; it must be {allowed}",
            f"--{option.name}={close[0]}" if close else None,
        )


def _took_it(option: Option, text: str, version: str | None) -> bool:
    now, until = version_of(version), _VALUED_UNTIL.get(option.name)
    return now is not None and until is not None and now < until and text.lower() in ("true", "false")


def _of_switch(option: Option, value: str) -> str:
    if value.strip().lower() in ("true", "1", "yes", "on", ""):
        return f"--{option.name}"
    # Without the flag, a plain switch is off, and so are the booleans that people write "=false" for; only those that
    # are on by default need the negation, which old versions do not know.
    return (
        f"--no-{option.name}"
        if option.name.startswith("enable-") and option.type == "bool"
        else "leave it out (off is the default)"
    )


def _json_problems(use: FlagUse, option: Option, version: str | None) -> Iterator[FlagAdvice]:
    now, since = version_of(version), _JSON_SINCE.get(option.name)
    if now is not None and since is not None and now < since:
        return
    try:
        json.loads(str(use.value))
    except ValueError:
        yield FlagAdvice(use.text, f"{use.value!r} is not JSON: keys and texts need double quotes")


def _duplicates(uses: Sequence[FlagUse]) -> Iterator[FlagAdvice]:
    for use in uses:
        option = options().find(use.known_as)
        if option is None or option.repeats or not whole(use):
            continue
        final = last(uses, option.name)
        if final is not None and final is not use:
            yield FlagAdvice(
                use.text, f"has no effect: {final.text} comes later, and the last one wins", "leave it out"
            )


def _relations(uses: Sequence[FlagUse]) -> Iterator[FlagAdvice]:
    tokens, seqs, length = (_int(uses, name) for name in ("max-num-batched-tokens", "max-num-seqs", "max-model-len"))
    if tokens is not None and seqs is not None and tokens < seqs:
        yield FlagAdvice(
            f"--max-num-batched-tokens={tokens}",
            f"must be at least --max-num-seqs ({seqs}); the engine stops otherwise",
            f"--max-num-batched-tokens={seqs}",
        )
    chunked = last(uses, "enable-chunked-prefill")
    if tokens is not None and length is not None and tokens < length and chunked is not None and chunked.value is False:
        yield FlagAdvice(
            f"--max-num-batched-tokens={tokens}",
            f"must be at least --max-model-len ({length}) without chunked prefill; the engine stops otherwise",
            f"--max-num-batched-tokens={length}",
        )
    if any(use.known_as == "config" and use.text.startswith("--config=") for use in uses):
        yield FlagAdvice("--config=FILE", "read only when written as two words", "--config FILE")


def _int(uses: Sequence[FlagUse], name: str) -> int | None:
    use, option = last(uses, name), options().find(name)
    if use is None or option is None or not isinstance(use.value, str):
        return None
    try:
        value = convert(option, use.value)
    except ValueError:
        return None
    return value if isinstance(value, int) else None


def _said(version: str | None) -> str:
    numbers = version_of(version)
    return ".".join(map(str, numbers)) if numbers else options().version
