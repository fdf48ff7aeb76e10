"""Files of one thing a line: what is wrong with them is told together, each mistake with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tuner.core.errors import InvalidInput

_TOLD = 10
_LONGEST = 60
T = TypeVar("T")


def numbered_lines(path: str, what: str) -> list[tuple[int, str]]:
    """All lines that are not blank, with their numbers. Raises InvalidInput for what is no text; allowed: `what`."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: can't be read as UTF-8 text ({error}); allowed: {what}") from error
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def parse_lines(path: str, lines: Iterable[tuple[int, str]], parse: Callable[[str], T]) -> tuple[T, ...]:
    """Every line as `parse` reads it; raises InvalidInput naming file:line of its first ten ValueErrors."""
    found: list[T] = []
    problems: list[str] = []
    for number, line in lines:
        try:
            found.append(parse(line))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        more = len(problems) - _TOLD
        raise InvalidInput(*problems[:_TOLD], *([f"{path}: {more} more lines like these"] if more > 0 else []))
    return tuple(found)


def parse_table(
    path: str, lines: Sequence[tuple[int, str]], columns: Sequence[str], parse: Callable[[dict[str, str]], T]
) -> tuple[T, ...]:
    """The rows of a CSV table as `parse` reads them, its first line being their names; `columns` must be among them.

    Raises InvalidInput as `parse_lines` does.
    """
    names = [name.strip() for name in lines[0][1].split(",")] if lines else []
    if missing := [name for name in columns if name not in names]:
        allowed = f"a first line with {', '.join(columns)}"
        raise InvalidInput(f"{path}:1: lacks the column {' and '.join(missing)}; allowed: {allowed}")

    def row(line: str) -> T:
        cells = next(csv.reader([line]))
        if len(cells) != len(names):
            raise ValueError(f"has {len(cells)} values; allowed: {len(names)}, as the first line says")
        return parse(dict(zip(names, cells, strict=True)))

    return parse_lines(path, lines[1:], row)


def json_object(line: str, allowed: str) -> dict[str, Any]:
    """The JSON object in a line. Raises ValueError with what is wrong and what is allowed."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno}); allowed: one object a line") from None
    if not isinstance(value, dict):
        raise ValueError(f"{short(value)} is no object; allowed: {allowed}")
    return value


def whole(name: str, value: object) -> int:
    """A whole number from 1, from JSON or (as text) from CSV. Raises ValueError with its name otherwise."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {short(value)}; allowed: a whole number from 1")
    return value


def short(value: object) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
