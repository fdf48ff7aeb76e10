"""Tables and facts in terminals of any width, and in pipes."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from tuner.cli import output

ROWS = [
    ["0", "baseline", "1,037", "as found"],
    ["1", "search", "infeasible", "block_size=32 enable_prefix_caching=false max_num_batched_tokens=24576"],
]
COLUMNS = ["#", "kind", "output-tokens/s", "changed"]


def _terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    out = io.StringIO()
    monkeypatch.setattr(
        output, "console", Console(file=out, width=width, force_terminal=True, color_system=None, _environ={})
    )
    return out


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_table_keeps_within_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    out = _terminal(monkeypatch, width)
    output.print_table(COLUMNS, ROWS)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "max_num_batched_tokens=24576" in out.getvalue()


def test_a_pipe_gets_a_row_on_a_line_without_escapes_or_padding(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["#", "KIND", "OUTPUT-TOKENS/S", "CHANGED"]
    assert lines[2].endswith("max_num_batched_tokens=24576")
    assert not any(line != line.rstrip() or "\x1b" in line for line in lines)


def test_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["a"], [["[red]x[/red]"]])
    output.print_facts({"[b]name": "[/]value"})
    output.say("[bold]y")
    assert capsys.readouterr().out.split() == ["A", "[red]x[/red]", "[b]name", "[/]value", "[bold]y"]


def test_json_and_yaml_hold_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"value": 1.5, "none": None, "text": "yes", "when": datetime(2026, 3, 1, tzinfo=UTC), "many": [1, "2"]}
    output.print_json(data)
    as_json = json.loads(capsys.readouterr().out)
    output.print_yaml(data)
    assert YAML(typ="safe").load(capsys.readouterr().out) == as_json
