"""`tuner studies`: the studies in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from tuner.cli import options
from tuner.cli.options import OutputFormat
from tuner.cli.output import emit, print_table, say
from tuner.study.report import overview


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(studies)


def studies(storage: options.Storage = None, output: options.Output = OutputFormat.TABLE) -> None:
    """List the studies: state, target, answer and what they took."""
    with options.existing_store(storage) if storage else options.store_or_empty(None) as store:
        rows = [overview(study, store.trials(study.id, short=True)) for study in store.studies()]
    emit(output, rows, lambda: _print(rows, wide=output is OutputFormat.WIDE))


def _print(rows: Sequence[Mapping[str, Any]], *, wide: bool) -> None:
    if not rows:
        say("no study yet; `tuner start` makes one")
        return
    columns = ["name", "state", "target", "summary", "starts", "gpu_minutes", "updated"]
    if wide:
        columns += ["failed_starts", "screened", "created", "detail"]
    headings = [column.replace("_", "-") for column in columns]
    print_table(headings, [[_cell(column, row[column]) for column in columns] for row in rows])


def _cell(column: str, value: Any) -> str:
    if column in ("created", "updated"):
        return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)
