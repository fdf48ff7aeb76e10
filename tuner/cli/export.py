"""`tuner export`: a study's winner as a patch."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from tuner.cli import options
from tuner.core.errors import InvalidInput
from tuner.export import FORMATS
from tuner.study.cluster import Cluster
from tuner.study.exports import export as exported
from tuner.study.report import find_study
from tuner.study.winner import winner_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    study: options.StudyName = None,
    format_: Annotated[
        str, typer.Option("--output", "-o", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")
    ] = "strategic-merge",
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    storage: options.Storage = None,
) -> None:
    """Write the confirmed winner against the Deployment as it is now: a patch for kubectl, flags, or a manifest."""
    if format_ not in FORMATS:
        raise InvalidInput(f"-o {format_}: unknown format; allowed: {', '.join(FORMATS)}")
    with options.existing_store(storage) as store:
        winner = winner_of(find_study(store, study))
    sys.stdout.write(asyncio.run(exported(winner, format_, Cluster(kubeconfig, context))))
