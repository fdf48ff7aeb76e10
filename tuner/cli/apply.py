"""`tuner apply`: give the live Deployment a study's winner."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuner.cli import options, units
from tuner.cli.output import console
from tuner.cli.question import ask
from tuner.core.cause import TrialFailed
from tuner.core.errors import InvalidInput, TunerError
from tuner.engines import engine_named
from tuner.study.report import find_study
from tuner.study.signals import interruptible
from tuner.study.spec.quantity import parse_duration
from tuner.study.winner import Winner, on_deployment, winner_of
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(apply)


def apply(
    study: options.StudyName = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the engine is reached. [default: the pod's address]")
    ] = None,
    rollout_deadline: Annotated[str, typer.Option(metavar="DURATION", help="Longest time for the start.")] = "20m",
    storage: options.Storage = None,
    yes: options.Yes = False,
) -> None:
    """Apply a study's winner to its Deployment: show the diff, ask, watch the rollout, undo it when it fails."""
    with options.existing_store(storage) as store:
        winner = winner_of(find_study(store, study))
    if winner.simulated:
        raise InvalidInput(f"study {winner.study}: its target was simulated, so there is nothing to apply it to")
    try:
        deadline_s = parse_duration(rollout_deadline)
    except ValueError as error:
        raise InvalidInput(f"--rollout-deadline: {error}") from None
    asyncio.run(_apply(winner, kubeconfig, context, endpoint, deadline_s, yes))


async def _apply(
    winner: Winner, kubeconfig: Path | None, context: str | None, endpoint: str | None, deadline_s: float, yes: bool
) -> None:
    client = await Client.connect(kubeconfig, context)
    target = KubernetesTarget(
        client,
        winner.namespace,
        winner.deployment,
        engine_named(winner.engine),
        endpoint=endpoint,
        api_key=os.environ.get("TUNER_API_KEY"),
    )
    try:
        await target.inspect()
        diff = target.preview(winner.candidate)
        if diff is None:
            console.print(f"{winner.deployment} runs these settings already", highlight=False)
            return
        await on_deployment(winner, client)  # refuses where the Deployment is not what was measured
        _show(winner, diff)
        if not yes:
            ask("Apply this? The engine restarts and serves nobody meanwhile.")
        holder = f"tuner-apply-{uuid.uuid4().hex[:12]}"
        running = await interruptible(target.keep(winner.candidate, holder, deadline_s, _say), say=_say)
    except TrialFailed as failed:
        raise TunerError(
            f"{failed.failure}\nthe change was undone: {winner.deployment} runs what it ran before"
        ) from failed
    finally:
        await target.release()
    took = units.duration(running.start_s)
    console.print(f"{winner.deployment} runs the winner of study {winner.study} after {took}", highlight=False)


def _show(winner: Winner, diff: str) -> None:
    console.print(
        f"Deployment {winner.namespace}/{winner.deployment}, study {winner.study}: {winner.summary}\n", highlight=False
    )
    for line in diff.splitlines():
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else ""
        console.print(Text(line, style=style), soft_wrap=True)
    console.print()


def _say(progress: str) -> None:
    console.print(f"  {progress}", highlight=False)
