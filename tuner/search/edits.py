"""A user's edits of a search space: narrow, widen, fix, add or drop knobs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tuner.core.errors import InvalidInput
from tuner.core.knob import CostClass, KnobKind, Value
from tuner.engines import Engine, engine_named
from tuner.search.declaration import Choice, Declaration, read_knob
from tuner.search.document import Document

FORMS = (
    "a value (fixes the knob), {low: , high: } or a list of values (sets the range), 'search' (with its usual range), "
    "or 'drop' (leaves it as found)"
)
_FIELDS = ("type", "low", "high", "step", "log", "per_doubling", "choices", "default", "why", "cost", "active")


@dataclass(frozen=True)
class Edited:
    """Declarations after the edits; `fixed` values, and which knobs were dropped, named, or given a range."""

    declarations: tuple[Declaration, ...]
    fixed: Mapping[str, Value]
    dropped: frozenset[str]
    named: frozenset[str]
    ranged: frozenset[str]


def edit(document: Document, edits: Mapping[str, object], where: str) -> Edited:
    """Apply `edits` (knob name -> one of FORMS). Raises InvalidInput with every mistake, prefixed by `where`.

    Names have underscores. A setting of the engine that its search space does not declare can be fixed or given a
    range, too.
    """
    known = {declaration.name: declaration for declaration in document.knobs}
    fixed: dict[str, Value] = {}
    dropped: set[str] = set()
    ranged: set[str] = set()
    problems: list[str] = []
    for name, wanted in edits.items():
        try:
            engine = _engine_of(document, name)
            if wanted is None or wanted in ("drop", "search"):
                if name not in known:
                    raise InvalidInput(f"{name}: has no usual range; allowed: a value, {{low: , high: }} or a list")
                if wanted != "search":
                    dropped.add(name)
            elif isinstance(wanted, (dict, list)):
                change = wanted if isinstance(wanted, dict) else {"choices": wanted}
                known[name] = _ranged(known.get(name), name, change, document.cost_of(name))
                ranged.add(name)
                _must_fit(engine, name, _ends(known[name]))
            else:
                fixed[name] = _fixed(known.get(name), name, wanted, f", {FORMS}")
                _must_fit(engine, name, [fixed[name]])
        except InvalidInput as error:
            problems += [f"{where}.{problem}" for problem in error.problems]
    if problems:
        raise InvalidInput(*problems)
    named = frozenset(edits) - dropped - set(fixed)
    return Edited(tuple(known.values()), fixed, frozenset(dropped), named, frozenset(ranged))


def check(document: Document, values: Mapping[str, object], where: str) -> None:
    """Raise InvalidInput with every one of `values` that the engine can't be set to, prefixed by `where`."""
    known = {declaration.name: declaration for declaration in document.knobs}
    problems: list[str] = []
    for name, value in values.items():
        try:
            _must_fit(_engine_of(document, name), name, [_fixed(known.get(name), name, value)])
        except InvalidInput as error:
            problems += [f"{where}.{problem}" for problem in error.problems]
    if problems:
        raise InvalidInput(*problems)


def _engine_of(document: Document, name: str) -> Engine:
    """The engine, if it or its search space knows the knob. Raises InvalidInput with the nearest names otherwise."""
    engine = engine_named(document.engine)
    if name != name.strip("_") or not name.isidentifier():
        raise InvalidInput(f"{name}: not a knob's name; write it as the engine does, e.g. max_num_seqs")
    declared = [declaration.name for declaration in document.knobs]
    names = dict.fromkeys([*declared, *engine.settings()])
    if name in names:
        if name not in declared and (what := engine.service(name)) is not None:
            raise InvalidInput(
                f"{name}: says {what}, not how fast the engine is; allowed: {', '.join(declared)}, or another flag of "
                "the engine's performance"
            )
        return engine
    close = difflib.get_close_matches(name, names, n=3)
    instead = f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(declared)}, or another flag"
    raise InvalidInput(f"{name}: unknown knob, {engine.name} has no such flag; {instead}")


def _must_fit(engine: Engine, name: str, values: Sequence[Value]) -> None:
    if name not in engine.settings():
        return  # a part of a setting, as the method of speculation: what it may be hangs on the rest
    for value in values:
        if (why := engine.misfit(name, value)) is not None:
            raise InvalidInput(f"{name}: {value!r}; {why}")


def _ends(declaration: Declaration) -> list[Value]:
    """The values of a knob that say whether all of them fit."""
    if declaration.kind is KnobKind.BOOL:
        return [True, False]
    if declaration.kind is KnobKind.CHOICE:
        return [choice.value for choice in declaration.choices]
    as_drawn = int if declaration.kind is KnobKind.INT else float
    return [as_drawn(end) for end in (declaration.low, declaration.high) if end is not None]


def _fixed(declaration: Declaration | None, name: str, value: object, or_else: str = "") -> Value:
    """A fixed value may lie outside what is worth searching, but is of the knob's type."""
    if not isinstance(value, (bool, int, float, str)):
        raise InvalidInput(f"{name}: {value!r}; allowed: {FORMS}")
    if declaration is None:
        return value
    right = {
        KnobKind.BOOL: isinstance(value, bool),
        KnobKind.INT: isinstance(value, int) and not isinstance(value, bool),
        KnobKind.FLOAT: isinstance(value, (int, float)) and not isinstance(value, bool),
        KnobKind.CHOICE: any(type(value) is type(choice.value) for choice in declaration.choices),
    }[declaration.kind]
    if not right:
        raise InvalidInput(f"{name}: {value!r}; allowed: a value of type {declaration.kind}{or_else}")
    return float(value) if declaration.kind is KnobKind.FLOAT else value


def _ranged(declaration: Declaration | None, name: str, change: Mapping[str, object], cost: CostClass) -> Declaration:
    unknown = [key for key in change if key not in _FIELDS]
    if unknown:
        raise InvalidInput(f"{name}: unknown field {', '.join(unknown)}; allowed: {', '.join(_FIELDS)}")
    if declaration is None:
        return read_knob(name, {"type": _kind(change), "cost": cost, "why": "added by you", **change})
    if "type" in change and change["type"] != declaration.kind:
        raise InvalidInput(f"{name}.type: {change['type']!r}; this knob is of type {declaration.kind}")
    if declaration.kind is KnobKind.BOOL:
        raise InvalidInput(f"{name}: {dict(change)!r}; allowed: true, false, 'search' or 'drop'")
    if declaration.kind is not KnobKind.CHOICE and "choices" in change:
        return _listed(declaration, change["choices"])
    edited = declaration.rewritten(change)
    # A choice that the file gates stays gated when the user names it, and a knob costs what its file says.
    gates = {choice.value: choice.gates for choice in declaration.choices}
    choices = tuple(Choice(choice.value, gates.get(choice.value, ())) for choice in edited.choices)
    return replace(edited, choices=choices, cost=declaration.cost, why=declaration.why, condition=declaration.condition)


def _kind(change: Mapping[str, object]) -> KnobKind:
    """The type of a knob that nobody declared, by its range."""
    if "choices" in change:
        return KnobKind.CHOICE
    return KnobKind.FLOAT if any(isinstance(change.get(end), float) for end in ("low", "high")) else KnobKind.INT


def _listed(declaration: Declaration, values: object) -> Declaration:
    """A numeric knob of which only some values are to be tried."""
    body = {"type": "choice", "choices": values}
    choices = read_knob(declaration.name, body).choices
    right = int if declaration.kind is KnobKind.INT else (int, float)
    wrong = [
        choice.value for choice in choices if isinstance(choice.value, bool) or not isinstance(choice.value, right)
    ]
    if wrong:
        raise InvalidInput(f"{declaration.name}: {wrong}; allowed: values of type {declaration.kind}")
    if declaration.kind is KnobKind.FLOAT:
        choices = tuple(Choice(float(choice.value)) for choice in choices)
    ordered = tuple(sorted(choices, key=lambda choice: float(choice.value)))
    return replace(declaration, kind=KnobKind.CHOICE, choices=ordered, low=None, high=None, step=None, overrides=())
