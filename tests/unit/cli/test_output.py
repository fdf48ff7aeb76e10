"""Tables and facts in terminals of any width, and in pipes."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from tuner.cli import output
from tuner.cli.options import OutputFormat

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


WIDE = [*COLUMNS, "start", "probe", "levels", "candidate", "why tried", "message"]
REST = ["1 min 06 s", "11 min 04 s", "9", "max_num_batched_tokens=512 max_num_seqs=1280", "TPE", "out of memory"]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize(("columns", "rest"), [(COLUMNS, []), (WIDE, REST)], ids=["narrow", "wide"])
def test_a_table_keeps_within_a_terminal_and_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: list[str], rest: list[str]
) -> None:
    out = _terminal(monkeypatch, width)
    output.print_table(columns, [[*row, *rest] for row in ROWS])
    assert max(map(len, out.getvalue().splitlines())) <= width
    words = out.getvalue().split()
    for expected in (
        *" ".join(columns).upper().split(),
        *(word for row in ROWS for cell in row for word in cell.split()),
    ):
        assert expected in words
    assert all(word in words for cell in rest for word in cell.split())


def test_a_row_that_no_line_has_room_for_becomes_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    out = _terminal(monkeypatch, 60)
    output.print_table(["name", *"abcdefg"], [["one", *["1234567890"] * 6, ""], ["two", *["12"] * 7]])
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines[:2] == [["NAME", "one"], ["A", "1234567890"]]
    assert lines[7:10] == [[], ["NAME", "two"], ["A", "12"]]  # nothing is said of G, which the first has not


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
    output.emit(OutputFormat.JSON, data, pytest.fail)
    as_json = json.loads(capsys.readouterr().out)
    output.emit(OutputFormat.YAML, data, pytest.fail)
    assert YAML(typ="safe").load(capsys.readouterr().out) == as_json


@pytest.mark.parametrize("text", ["off", "no", "y", "1:30", "1e3", "0x1f", "2026-03-01", "~", ""])
def test_text_stays_text_for_readers_of_older_yaml(capsys: pytest.CaptureFixture[str], text: str) -> None:
    output.emit(OutputFormat.YAML, {"speculative_method": text}, pytest.fail)
    old = YAML(typ="safe", pure=True)
    old.version = (1, 1)
    assert old.load(capsys.readouterr().out) == {"speculative_method": text}
