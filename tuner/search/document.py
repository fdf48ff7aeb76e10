"""Reading a search space file: YAML 1.2, every mistake told with its line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tuner.core.errors import InvalidInput
from tuner.core.knob import Condition, CostClass, KnobKind, Value
from tuner.search.gates import Gate, check_gate
from tuner.search.relations import Relation, parse_relation

_TOP = ("engine", "knobs", "lossless", "relations")
_KNOB = ("type", "low", "high", "step", "log", "per_doubling", "choices", "default", "why", "otherwise", "if", "active")
_KNOB_FIELDS = (*_KNOB, "cost", "needs", "asked", "overrides")
_OVERRIDABLE = ("low", "high", "step", "per_doubling", "choices", "default", "otherwise")


@dataclass(frozen=True)
class Choice:
    """One value of a choice knob; `gates`: any of them must be open."""

    value: Value
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True)
class Declaration:
    """One knob as its file declares it, before anything is known of the target."""

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


@dataclass(frozen=True)
class Document:
    """A search space file. `lossless` are settings that are no knobs and leave what the model writes as it is."""

    engine: str
    knobs: tuple[Declaration, ...]
    relations: tuple[Relation, ...]
    lossless: frozenset[str] = frozenset()

    def cost_of(self, name: str) -> CostClass:
        """What setting `name` may cost. One that the file does not know of may change the output."""
        lossless = self.lossless | {knob.name for knob in self.knobs if knob.cost is CostClass.LOSSLESS}
        return CostClass.LOSSLESS if name in lossless else CostClass.MAY_CHANGE_OUTPUT


def read_document(path: Path) -> Document:
    """Read and check a search space file. Raises InvalidInput with all its mistakes, each with file and line."""
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidInput(f"{path}{line}: {error.problem}") from error
    except YAMLError as error:
        raise InvalidInput(f"{path}: not YAML: {error}") from error
    return _Reader(path).document(data)


class _Reader:
    """Collects the mistakes of one file while it reads on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def document(self, data: object) -> Document:
        if not isinstance(data, Mapping):
            raise InvalidInput(f"{self.path}: must be a mapping with {', '.join(_TOP)}")
        self.only(data, _TOP, "")
        engine = data.get("engine")
        if not isinstance(engine, str):
            self.problem(data, "engine", "engine", engine, "the engine's name")
        knobs = []
        declared = data.get("knobs")
        if not isinstance(declared, Mapping) or not declared:
            self.problem(data, "knobs", "knobs", declared, "a mapping from knob to its description")
        else:
            knobs = [knob for name in declared if (knob := self.knob(declared, str(name))) is not None]
        self.parents_first(declared, knobs)
        relations, lossless = self.relations(data), self.lossless(data)
        if self.problems:
            raise InvalidInput(*self.problems)
        return Document(str(engine), tuple(knobs), relations, lossless)

    def lossless(self, data: Mapping[str, object]) -> frozenset[str]:
        listed = data.get("lossless", [])
        if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
            return frozenset(str(name) for name in listed)
        self.problem(data, "lossless", "lossless", plain(listed), "a list of settings")
        return frozenset()

    def knob(self, parent: Mapping[str, object], name: str) -> Declaration | None:
        body = parent[name]
        if not isinstance(body, Mapping):
            self.problem(parent, name, f"knobs.{name}", body, "a mapping")
            return None
        before = len(self.problems)
        self.only(body, _KNOB_FIELDS, f"knobs.{name}")
        overrides = self.overrides(body, name)
        try:
            knob = read_knob(name, body)
        except InvalidInput as error:
            self.problems += [f"{self.where(parent, name)}: {problem}" for problem in error.problems]
            return None
        if len(self.problems) > before:
            return None
        return Declaration(**{**knob.__dict__, "overrides": overrides})

    def overrides(self, body: Mapping[str, object], name: str) -> tuple[tuple[Gate, Mapping[str, object]], ...]:
        found = []
        listed = body.get("overrides", [])
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            self.problem(body, "overrides", f"knobs.{name}.overrides", listed, "a list of mappings with `if`")
            return ()
        for item in listed:
            if not isinstance(item, Mapping) or not isinstance(item.get("if"), Mapping):
                self.problem(body, "overrides", f"knobs.{name}.overrides", plain(item), "a mapping with `if`")
                continue
            self.only(item, ("if", *_OVERRIDABLE), f"knobs.{name}.overrides")
            change = {str(key): plain(value) for key, value in item.items() if key != "if"}
            merged = {**{key: plain(value) for key, value in body.items()}, **change}
            try:
                check_gate(item["if"])
                read_knob(name, merged)
            except InvalidInput as error:
                self.problems += [f"{self.where(body, 'overrides')}: {problem}" for problem in error.problems]
            found.append((_gate(item["if"]), change))
        return tuple(found)

    def parents_first(self, declared: object, knobs: Sequence[Declaration]) -> None:
        seen: set[str] = set()
        for knob in knobs:
            if knob.condition is not None and knob.condition.knob not in seen:
                allowed = "a knob declared above"
                self.problem(declared, knob.name, f"knobs.{knob.name}.active", knob.condition.knob, allowed)
            seen.add(knob.name)

    def relations(self, data: Mapping[str, object]) -> tuple[Relation, ...]:
        found = []
        listed = data.get("relations", [])
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            self.problem(data, "relations", "relations", listed, "a list of mappings with `must` and `why`")
            return ()
        for item in listed:
            if not isinstance(item, Mapping) or not isinstance(item.get("must"), str):
                self.problem(data, "relations", "relations", plain(item), "a mapping with `must` and `why`")
                continue
            self.only(item, ("must", "why"), "relations")
            try:
                found.append(parse_relation(item["must"], str(item.get("why", ""))))
            except InvalidInput as error:
                self.problems += [f"{self.where(item, 'must')}: relations: {problem}" for problem in error.problems]
        return tuple(found)

    def only(self, mapping: Mapping[str, object], allowed: Sequence[str], where: str) -> None:
        for key in mapping:
            if key not in allowed:
                field = f"{where}.{key}" if where else str(key)
                self.problem(mapping, key, field, "unknown field", ", ".join(allowed))

    def problem(self, parent: object, key: str, field: str, value: object, allowed: str) -> None:
        shown = value if value == "unknown field" else repr(plain(value))
        self.problems.append(f"{self.where(parent, key)}: {field}: {shown}; allowed: {allowed}")

    def where(self, parent: object, key: str) -> str:
        positions = getattr(getattr(parent, "lc", None), "data", None) or {}
        line = positions[key][0] + 1 if key in positions else None
        return f"{self.path}:{line}" if line else str(self.path)


def read_knob(name: str, body: Mapping[str, object]) -> Declaration:
    """A knob from its description. Raises InvalidInput with all that is wrong with it."""
    problems: list[str] = []

    def get(key: str, test: object, allowed: str, default: object = None) -> object:
        value = plain(body.get(key, default))
        if value is not default and not (callable(test) and test(value)):
            problems.append(f"{name}.{key}: {value!r}; allowed: {allowed}")
            return default
        return value

    kind = get("type", lambda v: v in set(KnobKind), ", ".join(KnobKind))
    if kind is None:
        raise InvalidInput(*(problems or [f"{name}.type: missing; allowed: {', '.join(KnobKind)}"]))
    kind = KnobKind(str(kind))
    low = get("low", _number, "a number")
    high = get("high", _number, "a number")
    step = get("step", lambda v: _number(v) and v > 0, "a number above 0")
    log = get("log", lambda v: isinstance(v, bool), "true or false", False)
    per = get("per_doubling", lambda v: _integer(v) and v > 0, "a whole number above 0")
    choices = _choices(name, body.get("choices"), problems) if kind is KnobKind.CHOICE else ()
    cost = get("cost", lambda v: v in set(CostClass), ", ".join(CostClass), CostClass.LOSSLESS)
    needs = get("needs", lambda v: v == "real-text", "real-text")
    asked = get("asked", lambda v: isinstance(v, bool), "true or false", False)
    why = get("why", lambda v: isinstance(v, str), "one line", "")
    otherwise = get("otherwise", lambda v: isinstance(v, str), "one line", "")
    default = get("default", lambda v: isinstance(v, (bool, int, float, str)), "a value of the knob")
    if kind in (KnobKind.INT, KnobKind.FLOAT):
        problems += _range_problems(name, kind, low, high, bool(log), step, per)
    gates = _gates(name, body.get("if"), problems)
    condition = _condition(name, body.get("active"), problems)
    if problems:
        raise InvalidInput(*problems)
    return Declaration(
        name=name,
        kind=kind,
        low=low,  # type: ignore[arg-type]
        high=high,  # type: ignore[arg-type]
        step=step,  # type: ignore[arg-type]
        log=bool(log),
        per_doubling=per,  # type: ignore[arg-type]
        choices=choices,
        default=default,  # type: ignore[arg-type]
        why=str(why),
        otherwise=str(otherwise),
        gates=gates,
        condition=condition,
        cost=CostClass(str(cost)),
        real_text=needs is not None,
        asked=bool(asked),
    )


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
    name: str, kind: KnobKind, low: object, high: object, log: bool, step: object, per: object
) -> list[str]:
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
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
    if per is not None and not log:
        problems.append(f"{name}.per_doubling: {per}; allowed: on a log scale only")
    return problems


def _choices(name: str, listed: object, problems: list[str]) -> tuple[Choice, ...]:
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        problems.append(f"{name}.choices: {plain(listed)!r}; allowed: a list of values")
        return ()
    found = []
    for item in listed:
        if isinstance(item, Mapping):
            if unknown := sorted(set(map(str, item)) - {"value", "if"}):
                problems.append(f"{name}.choices: unknown field {', '.join(unknown)}; allowed: value, if")
            gates = _gates(name, item.get("if"), problems)
            item = item.get("value")
        else:
            gates = ()
        value = plain(item)
        if not isinstance(value, (bool, int, float, str)):
            problems.append(f"{name}.choices: {value!r}; allowed: true, false, a number or text")
            continue
        found.append(Choice(value, gates))
    if len({(type(choice.value), choice.value) for choice in found}) < len(found):
        problems.append(f"{name}.choices: {[choice.value for choice in found]}; a value is listed twice")
    return tuple(found)


def _gates(name: str, value: object, problems: list[str]) -> tuple[Gate, ...]:
    if value is None:
        return ()
    listed = [value] if isinstance(value, Mapping) else value
    if not isinstance(listed, Sequence) or not all(isinstance(gate, Mapping) for gate in listed):
        problems.append(f"{name}.if: {plain(value)!r}; allowed: a gate, or a list of them")
        return ()
    gates = tuple(_gate(gate) for gate in listed)
    for gate in gates:
        try:
            check_gate(gate)
        except InvalidInput as error:
            problems += [f"{name}.if: {problem}" for problem in error.problems]
    return gates


def _gate(value: Mapping[object, object]) -> Gate:
    return {str(key): plain(wanted) for key, wanted in value.items()}


def _condition(name: str, value: object, problems: list[str]) -> Condition | None:
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, dict) and len(value) == 1:
        ((parent, values),) = value.items()
        if isinstance(values, list) and values and all(isinstance(v, (bool, int, float, str)) for v in values):
            return Condition(parent, tuple(values))
    problems.append(f"{name}.active: {value!r}; allowed: one knob with a list of its values")
    return None


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
