"""`tuner report`: a study as one HTML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import options
from tuner.cli.output import say
from tuner.core.errors import InvalidInput
from tuner.dashboard.views.study import StudyView
from tuner.study.report import find_study


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    study: options.StudyName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to, - to print it. [default: STUDY.html]"),
    ] = None,
    storage: options.Storage = None,
) -> None:
    """Write a study's page as one HTML file with its pictures: it opens from a mail, and loads nothing."""
    from tuner.dashboard.document import document, file_name

    with options.existing_store(storage) as store:
        record = find_study(store, study)
        view = StudyView(record, store.trials(record.id, short=True), store.reviews.of(record.id))
    if output == Path("-"):
        sys.stdout.write(document(view))
        return
    path = output or Path(f"{file_name(record.name)}.html")
    try:
        path.write_text(document(view), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"--output {path}: {error.strerror or error}") from None
    say(f"{path}: open it in a browser")
