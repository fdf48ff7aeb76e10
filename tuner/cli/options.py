"""Options that several commands share, with kubectl's spellings."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tuner.study.spec import default_storage

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the Deployment.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig to use.")]
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file. [default: kubectl's]")]
Storage = Annotated[
    str | None,
    typer.Option("--storage", envvar="TUNER_STORAGE", help="Database URL. [default: SQLite in your data folder]"),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
StudyName = Annotated[str | None, typer.Argument(metavar="[STUDY]", help="The study's name. [default: the newest]")]


class OutputFormat(StrEnum):
    """How lists and records are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to print.")]


def storage_url(storage: str | None) -> str:
    """The database that the user named, or the user's own."""
    return storage or default_storage(os.environ, Path.home())
