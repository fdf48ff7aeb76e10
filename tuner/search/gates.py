"""Gates: what a target must be for a knob or one of its values to be searched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tuner.core.errors import InvalidInput
from tuner.core.target import TargetInfo

Gate = Mapping[str, object]
_COMPARISON = re.compile(r"^\s*(>=|<=|<|>|==)\s*(\d+(?:\.\d+)*)\s*$")
_OPERATORS: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}
KEYS = ("cpu", "version", "compute_capability", "gpus", "max_model_len")


def check_gate(gate: Gate) -> None:
    """Raises InvalidInput where a gate can't be read."""
    problems = []
    for key, wanted in gate.items():
        if key not in KEYS:
            problems.append(f"unknown gate {key!r}; allowed: {', '.join(KEYS)}")
        elif key == "cpu":
            if not isinstance(wanted, bool):
                problems.append(f"cpu: {wanted!r}; allowed: true or false")
        elif not isinstance(wanted, str) or _COMPARISON.match(wanted) is None:
            problems.append(f"{key}: {wanted!r}; allowed: a comparison such as '>=0.22'")
    if problems:
        raise InvalidInput(*problems)


def context_length(info: TargetInfo) -> int | None:
    """The longest request that the target takes, prompt and output together; None where nobody knows."""
    length = {**info.fixed, **info.baseline}.get("max_model_len")
    # "auto" and -1 let the engine choose the longest that fits: then the model's own maximum bounds it.
    if isinstance(length, (int, float)) and length > 0:
        return int(length)
    return info.model_shape.max_positions if info.model_shape is not None else None


def closed(gates: Sequence[Gate], info: TargetInfo) -> str | None:
    """Why none of `gates` is open for this target; None where one is (or there are none). Gates have been checked."""
    reasons = []
    for gate in gates:
        failed = [reason for key, wanted in gate.items() if (reason := _closed(key, wanted, info)) is not None]
        if not failed:
            return None
        reasons.append(" and ".join(failed))
    # A GPU's gate says nothing to somebody who has none, and the other way round.
    return reasons[0] if reasons else None


def _closed(key: str, wanted: object, info: TargetInfo) -> str | None:
    if key == "cpu":
        return None if info.on_cpu == wanted else ("needs a CPU target" if wanted else "has no use on a CPU")
    if key == "compute_capability":
        if info.gpu is None:
            what = "this engine runs on a CPU" if info.on_cpu else "this one is unknown"
            return f"needs a GPU of compute capability {wanted}, and {what}"
        found = f"{info.gpu.compute_capability:.1f}"
        return None if _holds(found, str(wanted)) else f"needs compute capability {wanted}, {info.gpu.name} has {found}"
    if key in ("gpus", "max_model_len"):
        amount, what = (info.gpu_count, "GPUs") if key == "gpus" else (context_length(info), "tokens of context")
        enough = amount is not None and _holds(str(amount), str(wanted))
        return None if enough else f"needs {wanted} {what}, there are {'no known' if amount is None else amount}"
    # Of an unknown version the newest is assumed, as for its flags.
    if info.version is None or _holds(info.version, str(wanted)):
        return None
    return f"needs version {wanted}, this is {info.version}"


def _holds(found: str, comparison: str) -> bool:
    match = _COMPARISON.match(comparison)
    assert match is not None
    a, b = _numbers(found), _numbers(match[2])
    width = max(len(a), len(b))
    return _OPERATORS[match[1]](a + (0,) * (width - len(a)), b + (0,) * (width - len(b)))


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version.lstrip("v"))
    return tuple(int(part) for part in match[0].split(".")) if match else ()
