"""Options that several commands share, with kubectl's spellings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tuner.core.errors import InvalidInput, TunerError
from tuner.store import Store
from tuner.store.url import parse_url
from tuner.study.spec import default_storage

CLUSTER = "Cluster"  # a heading of the help

Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAMESPACE",
        help="Namespace of the Deployment. [default: the context's]",
        rich_help_panel=CLUSTER,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="NAME",
        help="Context of the kubeconfig. [default: its current one]",
        rich_help_panel=CLUSTER,
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Kubeconfig file. [default: kubectl's]", rich_help_panel=CLUSTER),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar="TUNER_STORAGE",
        help="Database with the studies. [default: SQLite in your data folder]",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _study_names(incomplete: str) -> list[str]:
    """For the shell's completion, which has no place for a complaint."""
    try:
        with existing_store(os.environ.get("TUNER_STORAGE")) as store:
            return [study.name for study in store.studies() if study.name.startswith(incomplete)]
    except TunerError:
        return []


StudyName = Annotated[
    str | None,
    typer.Argument(metavar="STUDY", help="The study's name. [default: the newest]", autocompletion=_study_names),
]


class OutputFormat(StrEnum):
    """How lists and records are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[OutputFormat, typer.Option("--output", "-o", metavar="FORMAT", help="table, wide, json or yaml.")]


def storage_url(storage: str | None) -> str:
    """The database that the user named, or the user's own."""
    return storage or default_storage(os.environ, Path.home())


def existing_store(storage: str | None, *, read_only: bool = False) -> Store:
    """The database to read studies from. Raises InvalidInput where a file is not there: reading makes none."""
    if (missing := _missing(storage)) is not None:
        said = f"--storage: there is no database {missing} yet" if storage else f"there is no study yet ({missing})"
        raise InvalidInput(f"{said}; `tuner start` makes one")
    return Store.open(storage_url(storage), read_only=read_only)


@contextmanager
def store_or_empty(storage: str | None) -> Iterator[Store]:
    """The same; an empty one, that is left nowhere, where there is none yet."""
    with ExitStack() as stack:
        if _missing(storage) is not None:
            storage = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/empty.db"
        yield stack.enter_context(Store.open(storage_url(storage)))


def _missing(storage: str | None) -> str | None:
    try:
        url = parse_url(storage_url(storage))
    except InvalidInput as error:
        raise InvalidInput(*(f"--{problem}" for problem in error.problems)) from None
    file = str(url.database)
    return file if url.get_backend_name() == "sqlite" and not Path(file).exists() else None
