"""One knob as a search space declares it, or as a user adds it: read, checked, and read again with changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from tuner.core.errors import InvalidInput
from tuner.core.knob import Condition, CostClass, KnobKind, Value
from tuner.search.gates import Gate, check_gate


@dataclass(frozen=True)
class Choice:
    """One value of a choice knob; `gates`: any of them must be open."""

    value: Value
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True)
class Declaration:
    """One knob before anything is known of the target. `written` is what it was read from."""

    name: str
    kind: KnobKind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    per_doubling: int | None = None
    choices: tuple[Choice, ...] = ()
    default: Value | None = None
    why: str = ""
    otherwise: str = ""  # what to tell where the gates are closed, instead of the gate's own words
    gates: tuple[Gate, ...] = ()
    condition: Condition | None = None
    cost: CostClass = CostClass.LOSSLESS
    real_text: bool = False
    asked: bool = False
    overrides: tuple[tuple[Gate, Mapping[str, object]], ...] = ()
    written: Mapping[str, object] = field(default_factory=dict)

    def rewritten(self, change: Mapping[str, object]) -> Declaration:
        """The knob with `change` over what was written (None: as if it were not), and without overrides.

        Raises InvalidInput as `read_knob`.
        """
        return read_knob(self.name, {k: v for k, v in {**self.written, **change}.items() if v is not None})


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _value(value: object) -> TypeGuard[Value]:
    return isinstance(value, (bool, int, float, str))


_RANGE = ("low", "high", "step", "log", "per_doubling")
# What is read as it stands: what fits, and the same in words.
_PLAIN: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "low": (_number, "a number"),
    "high": (_number, "a number"),
    "step": (lambda value: _number(value) and value > 0, "a number above 0"),
    "log": (lambda value: isinstance(value, bool), "true or false"),
    "per_doubling": (lambda value: _integer(value) and value > 0, "a whole number above 0"),
    "default": (_value, "a value of the knob"),
    "why": (lambda value: isinstance(value, str), "one line"),
    "otherwise": (lambda value: isinstance(value, str), "one line"),
    "cost": (lambda value: value in tuple(CostClass), ", ".join(CostClass)),
    "needs": (lambda value: value == "real-text", "real-text"),
    "asked": (lambda value: isinstance(value, bool), "true or false"),
}
#: All that can be written of a knob.
FIELDS = ("type", "choices", *_PLAIN, "if", "active", "overrides")


def read_knob(name: str, body: Mapping[str, object]) -> Declaration:
    """A knob from its description, less its overrides. Raises InvalidInput with all that is wrong with it."""
    written = {str(key): plain(value) for key, value in body.items()}
    given: Any = written.get("type")
    if given not in tuple(KnobKind):
        found = "missing" if given is None else repr(given)
        raise InvalidInput(f"{name}.type: {found}; allowed: {', '.join(KnobKind)}")
    kind = KnobKind(given)
    problems: list[str] = []
    read: dict[str, Any] = {}
    for key, (fits, allowed) in _PLAIN.items():
        if key in written and fits(written[key]):
            read[key] = written[key]
        elif key in written:
            problems.append(f"{name}.{key}: {written[key]!r}; allowed: {allowed}")
    if kind is KnobKind.CHOICE:
        read["choices"] = _choices(name, written.get("choices"), problems)
    elif kind is not KnobKind.BOOL:
        problems += _range_problems(name, kind, *(read.get(key) for key in _RANGE))
    read["gates"] = _gates(name, written.get("if"), problems)
    read["condition"] = _condition(name, written.get("active"), problems)
    if problems:
        raise InvalidInput(*problems)
    read["cost"] = CostClass(read.get("cost", CostClass.LOSSLESS))
    read["real_text"] = read.pop("needs", None) is not None
    return Declaration(name, kind, **read, written=written)


def plain(value: object) -> object:
    """`value` without the parser's own number and string types."""
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return value


def _range_problems(
    name: str, kind: KnobKind, low: Any, high: Any, step: Any, log: Any, per_doubling: Any
) -> list[str]:
    if low is None or high is None:
        return [f"{name}: low {low!r}, high {high!r}; a knob of type {kind} needs both"]
    problems = []
    if kind is KnobKind.INT and not (_integer(low) and _integer(high)):
        problems.append(f"{name}: low {low}, high {high}; allowed: whole numbers")
    if low > high:
        problems.append(f"{name}: low {low} is over high {high}")
    if log and low <= 0:
        problems.append(f"{name}.low: {low}; allowed: above 0 on a log scale")
    if log and step is not None:
        problems.append(f"{name}.step: {step}; a log scale takes per_doubling instead")
    if per_doubling is not None and not log:
        problems.append(f"{name}.per_doubling: {per_doubling}; allowed: on a log scale only")
    return problems


def _choices(name: str, listed: object, problems: list[str]) -> tuple[Choice, ...]:
    if not isinstance(listed, list) or not listed:
        problems.append(f"{name}.choices: {listed!r}; allowed: a list of values")
        return ()
    found = []
    for item in listed:
        one = item if isinstance(item, dict) else {"value": item}
        if unknown := sorted(set(one) - {"value", "if"}):
            problems.append(f"{name}.choices: unknown field {', '.join(unknown)}; allowed: value, if")
        gates, value = _gates(name, one.get("if"), problems), one.get("value")
        if _value(value):
            found.append(Choice(value, gates))
        else:
            problems.append(f"{name}.choices: {value!r}; allowed: true, false, a number or text")
    if len({(type(choice.value), choice.value) for choice in found}) < len(found):
        problems.append(f"{name}.choices: {[choice.value for choice in found]}; a value is listed twice")
    return tuple(found)


def _gates(name: str, value: Any, problems: list[str]) -> tuple[Gate, ...]:
    if value is None:
        return ()
    gates = [value] if isinstance(value, dict) else value
    if not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        problems.append(f"{name}.if: {value!r}; allowed: a gate, or a list of them")
        return ()
    for gate in gates:
        try:
            check_gate(gate)
        except InvalidInput as error:
            problems += [f"{name}.if: {problem}" for problem in error.problems]
    return tuple(gates)


def _condition(name: str, value: Any, problems: list[str]) -> Condition | None:
    if value is None:
        return None
    if isinstance(value, dict) and len(value) == 1:
        ((parent, values),) = value.items()
        if isinstance(values, list) and values and all(_value(one) for one in values):
            return Condition(parent, tuple(values))
    problems.append(f"{name}.active: {value!r}; allowed: one knob with a list of its values")
    return None
