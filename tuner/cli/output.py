"""Prints records the way `-o` asks for."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from ruamel.yaml import YAML

_ROOMY = 100  # columns from which there is room between the columns of a table
_PIPE = 100_000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Tell the caller, who may have a study to end: rich would leave the process from here."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


console: Console = _Console()


def print_json(data: Any) -> None:
    """Print data as JSON, one document."""
    print(json.dumps(data, indent=2, default=str))


def print_yaml(data: Any) -> None:
    """Print data as one YAML document."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(json.loads(json.dumps(data, default=str)), sys.stdout)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print rows under upper-case headings, without frames.

    A terminal's width is kept by folding the last column; a pipe gets every row on one line.
    """
    roomy = not console.is_terminal or console.width >= _ROOMY
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if roomy else 1, 0, 0))
    for column in columns:
        last = column == columns[-1]
        table.add_column(column.upper(), overflow="fold", no_wrap=not (last and console.is_terminal))
    for row in rows:
        table.add_row(*map(_plain, row))
    _unlimited().print(table)


def print_facts(facts: Mapping[str, str | Text]) -> None:
    """Print names and values, aligned."""
    table = Table.grid(Column(no_wrap=True, style="bold"), Column(overflow="fold"), padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(_plain(name), _plain(value))
    _unlimited().print(table)


def _plain(value: str | Text) -> Text:
    """Brackets are no markup: engines write them into their messages."""
    return Text(value) if isinstance(value, str) else value


def say(text: str, style: str = "") -> None:
    """Print one paragraph; a pipe gets it on one line."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _unlimited() -> Console:
    """The terminal as it is; for a pipe one that is wide enough for every line."""
    return console if console.is_terminal else _Console(width=_PIPE, file=_Trimmed(sys.stdout))


class _Trimmed(StringIO):
    """Passes lines on without the blanks that tables are padded with."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def write(self, text: str) -> int:
        self._out.write("\n".join(line.rstrip() for line in text.split("\n")))
        return len(text)

    def flush(self) -> None:
        self._out.flush()
