"""`tuner restore`: put a Deployment back from what is stored in its own annotation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from tuner.cli import options
from tuner.cli.output import console
from tuner.core.errors import InvalidInput
from tuner.targets.kubernetes import connect, restore_deployment


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(restore)


def restore(
    name: str = typer.Argument(metavar="DEPLOYMENT", help="The Deployment."),
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    force: bool = typer.Option(False, "--force", help="Also overwrite what somebody else changed in the same fields."),
    keep: bool = typer.Option(False, "--keep", help="Leave what somebody else changed, and put back the rest."),
) -> None:
    """Put a Deployment back as a study found it, from its annotation alone (after a kill -9, from any machine)."""
    if force and keep:
        raise InvalidInput("--force and --keep: they say the opposite of each other; give one of them")
    console.print(asyncio.run(_restore(namespace, name, context, kubeconfig, force, keep)), highlight=False)


async def _restore(
    namespace: str | None, name: str, context: str | None, kubeconfig: Path | None, force: bool, keep: bool
) -> str:
    client = await connect(kubeconfig, context)
    try:
        where = namespace or client.namespace
        return str(await restore_deployment(client, where, name, force=force, keep=keep))
    finally:
        await client.close()
