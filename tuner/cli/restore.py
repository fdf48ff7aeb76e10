"""`tuner restore`: put a Deployment back from what is stored in its own annotation."""

from __future__ import annotations

import asyncio

import typer

from tuner.cli import options
from tuner.cli.output import console
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
) -> None:
    """Put a Deployment back as a study found it, from its annotation alone (after a kill -9, from any machine)."""
    console.print(asyncio.run(_restore(namespace, name, context, kubeconfig, force)), highlight=False)


async def _restore(namespace: str | None, name: str, context: str | None, kubeconfig: object, force: bool) -> str:
    client = await connect(str(kubeconfig) if kubeconfig else None, context)
    try:
        return str(await restore_deployment(client, namespace or client.namespace, name, force=force))
    finally:
        await client.close()
