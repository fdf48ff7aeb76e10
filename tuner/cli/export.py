"""`tuner export`: a study's winner as a patch."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import options
from tuner.core.errors import InvalidInput
from tuner.export import FORMATS, Result
from tuner.study.report import find_study
from tuner.study.winner import Winner, as_flags, formats_for, on_deployment, winner_of
from tuner.targets.kubernetes.client import Client


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
    wanted = formats_for(winner, format_)
    sys.stdout.write(FORMATS[wanted](asyncio.run(_result(winner, kubeconfig, context, wanted))))


async def _result(winner: Winner, kubeconfig: Path | None, context: str | None, wanted: str) -> Result:
    if winner.simulated or wanted == "flags":
        return as_flags(winner)
    client = await Client.connect(kubeconfig, context)
    try:
        return await on_deployment(winner, client)
    finally:
        await client.close()
