"""Whether the engine takes requests as long as the workload's, told before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.core.errors import InvalidInput
from tuner.core.knob import Value
from tuner.core.target import TargetInfo
from tuner.core.workload import Workload
from tuner.probe import longest_request
from tuner.search import Space

_KNOB = "max_model_len"


def refuse_too_long(workload: Workload, info: TargetInfo, space: Space) -> None:
    """Raise InvalidInput where the longest requests do not fit what the target runs with, or what may be tried on it.

    Every trial would be of requests that the engine turns down. Where nobody says what it takes, nothing is refused.
    """
    prompt, output = longest_request(workload)
    needed = prompt + output
    problems = []
    found, source = _found(info)
    if found is not None and found < needed:
        problems.append(
            f"workload: {_which(workload)} need {needed} tokens for a prompt of {prompt} and an output of {output}, "
            f"and the engine takes {found} ({source}); {_shorter(workload)}, or let the engine take more"
        )
    problems += [
        f"search.knobs.{_KNOB}: {tried} is too short for the workload; allowed: at least {needed} (prompt {prompt}, "
        f"output {output})"
        for tried in _tried(info, space)
        if tried < needed
    ]
    if problems:
        raise InvalidInput(*problems)


def _which(workload: Workload) -> str:
    if workload.real_text and workload.tokenizer is None:
        return "the longest requests (a token for each word at least)"
    if workload.real_text or workload.trace or workload.pairs:
        return "the longest requests"
    return "requests" if workload.prompt.cv == workload.output.cv == 0 else "the longest requests (99th percentile)"


def _shorter(workload: Workload) -> str:
    if workload.real_text:
        return f"leave the longest prompts out of {workload.prompts_file}"
    if workload.trace is not None:
        return "leave longer ones out by workload.longest"
    return f"make {'workload.lengths' if workload.pairs else 'workload.prompt or workload.output'} shorter"


def _found(info: TargetInfo) -> tuple[int | None, str]:
    """What the engine takes as it was found, and who says so."""
    flag = _tokens({**info.fixed, **info.baseline}.get(_KNOB))
    if flag is not None:
        return flag, "its --max-model-len"
    if info.simulated and info.model_shape is not None:
        return info.model_shape.max_positions, f"the longest of {info.model_shape.name}"
    return None, ""


def _tried(info: TargetInfo, space: Space) -> Iterator[int]:
    """The shortest that a candidate may set, where the study lets it set one."""
    knob = space.by_name.get(_KNOB)
    if knob is not None:
        values = [_tokens(value) for value in (knob.low, *knob.choices)]
        yield from sorted(value for value in values if value is not None)[:1]
    elif _KNOB in space.fixed and space.fixed[_KNOB] != info.baseline.get(_KNOB):
        fixed = _tokens(space.fixed[_KNOB])
        yield from () if fixed is None else (fixed,)


def _tokens(value: Value | None) -> int | None:
    """None for "auto" and -1: the engine takes what fits."""
    return int(value) if isinstance(value, (int, float)) and value > 0 else None
