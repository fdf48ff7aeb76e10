"""Core values as JSON and back: one rule for every dataclass, so that a new field is stored without a word here.

A dataclass is an object by field name; a field that is absent in stored text takes its default, one that is no longer
known is ignored. Floats that JSON can't hold (NaN, infinities) are refused, never written.
"""

from __future__ import annotations

import math
import numbers
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tuner.core.knob import Candidate

T = TypeVar("T")
#: Turns what JSON gave back into a value of one type.
Decoder = Callable[[Any], Any]
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
    made: Any = kind
    decoded: T = _decoder(made)(data)
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


def _as_it_is(data: Any) -> Any:
    return data


@cache
def _decoder(kind: Any) -> Decoder:
    """What reads values of one type: made once, because a study of a thousand trials has a hundred thousand values."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return tuple if arguments[0] in _PLAIN else _tuple(_decoder(arguments[0]))
    if origin in (dict, Mapping):
        return _mapping(_decoder(arguments[1]))
    return _class(kind) if isinstance(kind, type) else _as_it_is


def _union(options: tuple[Any, ...]) -> Decoder:
    """Unions in core are either of plain values (kept as they are) or "X or None"."""
    rest = [option for option in options if option is not type(None)]
    if len(rest) != 1:
        return _as_it_is
    inner = _decoder(rest[0])
    return lambda data: None if data is None else inner(data)


def _tuple(inner: Decoder) -> Decoder:
    return lambda data: tuple([inner(item) for item in data])


def _mapping(inner: Decoder) -> Decoder:
    return lambda data: {key: inner(item) for key, item in data.items()}


def _class(kind: Any) -> Decoder:
    if kind is Candidate:
        return Candidate.of
    if issubclass(kind, StrEnum):
        return cast(Decoder, kind)
    return _dataclass(kind) if hasattr(kind, "__dataclass_fields__") else _as_it_is


def _dataclass(kind: Any) -> Decoder:
    known = {f.name for f in fields(kind)}
    inner = {name: _decoder(hint) for name, hint in get_type_hints(kind).items() if name in known}
    return lambda data: kind(**{name: inner[name](item) for name, item in data.items() if name in inner})
