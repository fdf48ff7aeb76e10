"""Prints records the way `-o` asks for."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tuner.cli.options import OutputFormat
from tuner.export.document import dump

_ROOMY = 100  # columns from which there is room between the columns of a table
_LONG_WORD = 16  # a longer one is folded where there is no other way
_PIPE = 100_000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Tell the caller, who may have a study to end: rich would leave the process from here."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


console: Console = _Console()


def emit(wanted: OutputFormat, data: Any, table: Callable[[], None]) -> None:
    """Print `data` as one JSON or YAML document, or have it printed for people."""
    if wanted is OutputFormat.JSON:
        print(json.dumps(data, indent=2, default=str))
    elif wanted is OutputFormat.YAML:
        sys.stdout.write(dump(json.loads(json.dumps(data, default=str))))
    else:
        table()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print rows under upper-case headings, without frames. Nothing is ever cut.

    A pipe gets every row on one line. A terminal's width is kept by folding texts; where that has no room, each row
    becomes a block of its own, with the headings at its side.
    """
    texts = [[_plain(cell) for cell in row] for row in rows]
    headings = [Text(column.upper()) for column in columns]
    gap = 2 if not console.is_terminal or console.width >= _ROOMY else 1
    widths = _widths([headings, *texts], console.width - gap * len(columns)) if console.is_terminal else None
    if widths == []:
        _print_blocks(headings, texts)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for place, heading in enumerate(headings):
        width = widths[place] if widths else None
        table.add_column(heading, overflow="fold", no_wrap=widths is None, width=width)
    for row in texts:
        table.add_row(*row)
    _unlimited().print(table)


def _widths(lines: Sequence[Sequence[Text]], room: int) -> list[int]:
    """How wide each column is to be, in all at most `room`; none where it can't be done.

    First each gets what its words need (a long one may be folded), then those that lack the least get whole lines.
    """
    columns = list(zip(*lines, strict=True))
    words = [max((cell_len(word) for cell in column for word in cell.plain.split()), default=1) for column in columns]
    widths = [min(word, _LONG_WORD) for word in words]
    if sum(widths) > room:
        return []
    for wanted in (words, [max(cell.cell_len for cell in column) for column in columns]):
        for place in sorted(range(len(widths)), key=lambda place: wanted[place] - widths[place]):
            widths[place] += max(0, min(wanted[place] - widths[place], room - sum(widths)))
    return widths


def _print_blocks(headings: Sequence[Text], rows: Sequence[Sequence[Text]]) -> None:
    for number, row in enumerate(rows):
        if number:
            console.print()
        print_facts({heading.plain: cell for heading, cell in zip(headings, row, strict=True) if cell.plain})


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
