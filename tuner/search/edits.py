"""A user's edits of a search space: narrow, widen, fix, add or drop knobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tuner.core.errors import InvalidInput
from tuner.core.knob import KnobKind, Value
from tuner.search.document import Choice, Declaration, plain, read_knob

FORMS = (
    "a value (fixes the knob), {low: , high: } or a list of values (sets the range), 'search' (with its usual range), "
    "'drop' (leaves it as found), or {type: , ...} (a knob of your own)"
)
_FIELDS = ("type", "low", "high", "step", "log", "per_doubling", "choices", "default", "why", "cost", "active")


@dataclass(frozen=True)
class Edited:
    """Declarations after the edits; `fixed` values, and which knobs were dropped or asked for by name."""

    declarations: tuple[Declaration, ...]
    fixed: Mapping[str, Value]
    dropped: frozenset[str]
    named: frozenset[str]


def edit(declarations: tuple[Declaration, ...], edits: Mapping[str, object], where: str) -> Edited:
    """Apply `edits` (knob name -> one of FORMS). Raises InvalidInput with every mistake, prefixed by `where`."""
    known = {declaration.name: declaration for declaration in declarations}
    fixed: dict[str, Value] = {}
    dropped: set[str] = set()
    problems: list[str] = []
    for raw, given in edits.items():
        name, wanted = raw.replace("-", "_"), plain(given)
        if not raw or name != name.strip("_") or not name.isidentifier():
            problems.append(f"{where}.{raw}: not a knob's name; write it as the engine does, e.g. max_num_seqs")
            continue
        try:
            if wanted is None or wanted == "drop":
                _known(known, name)
                dropped.add(name)
            elif wanted == "search":
                _known(known, name)
            elif isinstance(wanted, (dict, list)):
                known[name] = _ranged(
                    known.get(name), name, wanted if isinstance(wanted, dict) else {"choices": wanted}
                )
            else:
                fixed[name] = _fixed(known.get(name), name, wanted)
        except InvalidInput as error:
            problems += [f"{where}.{problem}" for problem in error.problems]
    if problems:
        raise InvalidInput(*problems)
    named = frozenset(name.replace("-", "_") for name in edits) - dropped - set(fixed)
    return Edited(tuple(known.values()), fixed, frozenset(dropped), named)


def _known(known: Mapping[str, Declaration], name: str) -> Declaration:
    if name not in known:
        raise InvalidInput(f"{name}: unknown knob; allowed: {', '.join(known)}, or one of your own with its type")
    return known[name]


def _fixed(declaration: Declaration | None, name: str, value: object) -> Value:
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
        raise InvalidInput(f"{name}: {value!r}; allowed: a value of type {declaration.kind}, {FORMS}")
    return float(value) if declaration.kind is KnobKind.FLOAT else value


def _ranged(declaration: Declaration | None, name: str, change: Mapping[str, object]) -> Declaration:
    unknown = [key for key in change if key not in _FIELDS]
    if unknown:
        raise InvalidInput(f"{name}: unknown field {', '.join(unknown)}; allowed: {', '.join(_FIELDS)}")
    if declaration is None:
        if "type" not in change:
            raise InvalidInput(f"{name}: unknown knob; one of your own needs a type: {', '.join(KnobKind)}")
        return replace(read_knob(name, change), why=str(change.get("why", "added by you")))
    if "type" in change and change["type"] != declaration.kind:
        raise InvalidInput(f"{name}.type: {change['type']!r}; this knob is of type {declaration.kind}")
    if declaration.kind is KnobKind.BOOL:
        raise InvalidInput(f"{name}: {dict(change)!r}; allowed: true, false, 'search' or 'drop'")
    if declaration.kind is not KnobKind.CHOICE and "choices" in change:
        return _listed(declaration, change["choices"])
    merged = {**_as_body(declaration), **change}
    edited = read_knob(name, merged)
    # A choice that the file gates stays gated when the user names it.
    gates = {choice.value: choice.gates for choice in declaration.choices}
    choices = tuple(Choice(choice.value, gates.get(choice.value, ())) for choice in edited.choices)
    return replace(
        declaration,
        low=edited.low,
        high=edited.high,
        step=edited.step,
        log=edited.log,
        per_doubling=edited.per_doubling,
        choices=choices,
        default=edited.default,
        overrides=(),
    )


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


def _as_body(declaration: Declaration) -> dict[str, object]:
    body: dict[str, object] = {"type": str(declaration.kind), "log": declaration.log}
    for key in ("low", "high", "step", "per_doubling", "default"):
        if (value := getattr(declaration, key)) is not None:
            body[key] = value
    if declaration.choices:
        body["choices"] = [choice.value for choice in declaration.choices]
    return body
