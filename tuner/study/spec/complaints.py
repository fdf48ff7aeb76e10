"""What is wrong with a study, said so that it can be put right: where, the field, the value and what is allowed."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tuner.store.url import masked
from tuner.study.spec.document import FieldPath, dotted

_LONGEST = 80
_NOT_A = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "string_type": "is not text",
    "bool_type": "is not true or false",
    "list_type": "is not a list",
    "dict_type": "is not a mapping",
    "model_type": "is not a mapping",
    "string_too_short": "is empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "can't be used",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "literal_error": "is not known",
    "enum": "is not known",
}


def place(path: FieldPath, sources: Mapping[FieldPath, str]) -> str:
    """Where a field was given: its own place, or that of what it is missing from; "" for the study as a whole."""
    for end in range(len(path), -1, -1):
        if (source := sources.get(path[:end])) is not None:
            return source
    return ""


def complaint(path: FieldPath, text: str, sources: Mapping[FieldPath, str]) -> str:
    """One line for people: `studies/demo.yaml:12: budget.starts: 3 is too few; ...`."""
    where = place(path, sources)
    field = dotted(path)
    said = where == f"--{field.replace('_', '-')}"
    return ": ".join(part for part in (where, "" if said else field, text) if part)


def explain(error: ErrorDetails, model: type[BaseModel], data: Mapping[str, Any]) -> tuple[FieldPath, str]:
    """The field that one of pydantic's errors speaks of, and what is wrong with it in our words.

    `data` is what was given: the value is shown as it stands there, not as a validator has read it.
    """
    path: FieldPath = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return path, _unknown(path, model)
    field = _field(path, model)
    allowed = _allowed(field)
    if error["type"] == "missing":
        return path, f"missing; allowed: {allowed}"
    value = _given(path, data, error["input"])
    wrong = _NOT_A.get(error["type"]) or _own(error)
    close = _close(value, _choices(field))
    hint = f"; did you mean {close}?" if close else ""
    rest = f"; allowed: {allowed}" if allowed and not re.search("allowed: |write ", wrong) else ""
    return path, f"{show(value, path)}{'' if wrong[0] == ':' else ' '}{wrong}{hint}{rest}"


def _given(path: FieldPath, data: Any, default: object) -> object:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return default
    return data


def show(value: object, path: FieldPath = ()) -> str:
    """A value as its YAML says it, cut where it is long, and without a password."""
    if isinstance(value, str):
        text = repr(masked(value) if path[:1] == ("storage",) else re.sub(r"(?<=://)[^/@\s]*@", "***@", value))
    elif value is None or isinstance(value, bool):
        text = "null" if value is None else str(value).lower()
    else:
        text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _own(error: ErrorDetails) -> str:
    """The text of a ValueError that one of our validators raised, less what our line says already."""
    text = str(error.get("ctx", {}).get("error", error["msg"]))
    field = str(error["loc"][-1]) if error["loc"] else ""
    text = text.removeprefix(f"{field}: ")
    for value in (repr(error["input"]), show(error["input"], (field,))):
        text = text.removeprefix(f"{value} ").removeprefix(value)
    return text


def _unknown(path: FieldPath, model: type[BaseModel]) -> str:
    name = str(path[-1])
    section = _section(path[:-1], model)
    names = list(section.model_fields) if section else []
    wanted = name.replace("-", "_")
    close = _elsewhere(wanted, model) or _close(wanted, names)
    hint = f"; did you mean {close}?" if close else ""
    return f"unknown field{hint}; allowed: {', '.join(names)}"


def _elsewhere(name: str, model: type[BaseModel], at: FieldPath = ()) -> str | None:
    """Where in the study there is a field of this name."""
    for known, field in model.model_fields.items():
        if known == name:
            return dotted((*at, known))
        below = _model(field.annotation)
        if below and (found := _elsewhere(name, below, (*at, known))):
            return found
    return None


def _close(value: object, choices: list[str]) -> str | None:
    if not isinstance(value, str):
        return None
    return next(iter(difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.6)), None)


def _section(path: FieldPath, model: type[BaseModel]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    for part in path:
        field = section.model_fields.get(str(part)) if section else None
        section = _model(field.annotation) if field else None
    return section


def _field(path: FieldPath, model: type[BaseModel]) -> FieldInfo | None:
    """The nearest field on the way to `path`: for an item of a list, the list's."""
    for end in range(len(path), 0, -1):
        section = _section(path[: end - 1], model)
        if section and (field := section.model_fields.get(str(path[end - 1]))):
            return field
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for kind in _options(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _options(annotation: Any) -> list[Any]:
    """The types behind `X | None` and `Annotated[X, ...]`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for one in get_args(annotation) for found in _options(one)]
    if hasattr(annotation, "__metadata__"):
        return _options(annotation.__origin__)
    return [annotation]


def _choices(field: FieldInfo | None) -> list[str]:
    for kind in _options(field.annotation) if field else []:
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return [member.value for member in kind]
        if get_origin(kind) is Literal:
            return list(get_args(kind))
    return []


def _allowed(field: FieldInfo | None) -> str:
    if field is None:
        return ""
    if choices := _choices(field):
        return ", ".join(choices)
    if description := field.description or _described(field.annotation):
        return description
    kinds = _options(field.annotation)
    if bool in kinds:
        return "true or false"
    if int in kinds or float in kinds:
        return ("a whole number" if int in kinds else "a number") + _range(field.metadata)
    section = _model(field.annotation)
    return f"a mapping with {', '.join(section.model_fields)}" if section else ""


def _described(annotation: Any) -> str | None:
    """The description of the type itself, also inside `X | None`."""
    for one in (annotation, *get_args(annotation)):
        for item in getattr(one, "__metadata__", ()):
            if isinstance(item, FieldInfo) and item.description:
                return item.description
    return None


def _range(bounds: list[Any]) -> str:
    words = {"ge": "from", "gt": "over", "le": "to", "lt": "under"}
    found = {name: getattr(bound, name) for bound in bounds for name in words if hasattr(bound, name)}
    return "".join(f" {word} {_figure(found[name])}" for name, word in words.items() if name in found)


def _figure(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"
