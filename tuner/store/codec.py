"""Core values as JSON and back: one rule for every dataclass, so that a new field is stored without a word here.

A dataclass is an object by field name; a field that is absent in stored text takes its default, one that is no longer
known is ignored. Floats that JSON can't hold (NaN, infinities) are refused, never written.
"""

from __future__ import annotations

import math
import numbers
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tuner.core.knob import Candidate

T = TypeVar("T")
_PLAIN = (int, float, str, float | None)


def encode(value: object, path: str = "") -> Any:
    """`value` as what json.dumps takes.

    Raises ValueError for a number that is not finite and TypeError for a type that is not stored, naming the path.
    """
    if value is None or isinstance(value, (bool, str)):
        return value.value if isinstance(value, StrEnum) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _finite(float(value), path)
    if isinstance(value, Mapping):  # a Candidate too
        return {_key(key, path): encode(item, f"{path}.{key}") for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name), f"{path}.{f.name}") for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return _items(value, path)
    raise TypeError(f"{path.lstrip('.') or 'value'}: {type(value).__name__} can't be stored")


def decode(kind: type[T], data: Any) -> T:
    """The inverse of `encode` for a value of type `kind`. Raises ValueError or TypeError for data of another shape."""
    decoded: T = _decode(kind, data)
    return decoded


def _items(values: Sequence[object], path: str) -> list[Any]:
    if all(type(item) is int or item is None or (type(item) is float and math.isfinite(item)) for item in values):
        return list(values)  # a level has a thousand of them
    return [encode(item, f"{path}[{index}]") for index, item in enumerate(values)]


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{path.lstrip('.') or 'value'}: {value} can't be stored; numbers must be finite")
    return value


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{path.lstrip('.') or 'value'}: key {key!r} is not text")
    return str(key)


def _decode(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), data)
    if origin is tuple:
        (item_kind, *_) = get_args(kind)
        return tuple(data) if item_kind in _PLAIN else tuple(_decode(item_kind, item) for item in data)
    if origin in (dict, Mapping):
        return {key: _decode(get_args(kind)[1], item) for key, item in data.items()}
    return _decode_class(kind, data) if isinstance(kind, type) else data


def _decode_class(kind: Any, data: Any) -> Any:
    if kind is Candidate:
        return Candidate.of(data)
    if issubclass(kind, StrEnum):
        return kind(data)
    if hasattr(kind, "__dataclass_fields__"):
        hints = _hints(kind)
        return kind(**{name: _decode(hints[name], item) for name, item in data.items() if name in hints})
    return data


def _decode_union(options: tuple[Any, ...], data: Any) -> Any:
    """Unions in core are either of plain values (kept as they are) or "X or None"."""
    rest = [option for option in options if option is not type(None)]
    return None if data is None else _decode(rest[0], data) if len(rest) == 1 else data


@cache
def _hints(kind: Any) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    return {name: hint for name, hint in get_type_hints(kind).items() if name in known}
