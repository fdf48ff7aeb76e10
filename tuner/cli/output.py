"""Prints records the way `-o` asks for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

console = Console()
errors = Console(stderr=True)


def print_json(data: Any) -> None:
    """Print data as JSON, one document."""
    print(json.dumps(data, indent=2, default=str))


def print_yaml(data: Any) -> None:
    """Print data as one YAML document."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(json.loads(json.dumps(data, default=str)), sys.stdout)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print rows under upper-case headings, without frames; never cut where the output is not a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.upper(), overflow="fold" if console.is_terminal else "ignore", no_wrap=not console.is_terminal
        )
    for row in rows:
        table.add_row(*row)
    if console.is_terminal:
        console.print(table)
    else:
        Console(width=max(console.width, 4000), file=sys.stdout).print(table, soft_wrap=True)


def print_facts(facts: Mapping[str, str | Text]) -> None:
    """Print names and values, aligned."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="bold"), value)
    console.print(table)
