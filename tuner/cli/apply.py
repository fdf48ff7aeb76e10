"""`tuner apply`: give the live Deployment a study's winner, or take it back."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer
from rich.text import Text

from tuner.cli import options
from tuner.cli.output import console
from tuner.cli.question import ask
from tuner.core.errors import InvalidInput
from tuner.store import StudyRecord
from tuner.study import units
from tuner.study.adoption import Adoption
from tuner.study.cluster import Cluster
from tuner.study.report import find_study
from tuner.study.reversal import Reversal
from tuner.study.signals import interruptible
from tuner.study.spec.quantity import parse_duration
from tuner.study.staleness import doubts
from tuner.study.winner import Winner, winner_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(apply)


def apply(
    study: options.StudyName = None,
    undo: Annotated[bool, typer.Option("--undo", help="Give it back what ran before the winner.")] = False,
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
        record = find_study(store, study)
        winner = winner_of(record)
    try:
        deadline_s = parse_duration(rollout_deadline)
    except ValueError as error:
        raise InvalidInput(f"--rollout-deadline: {error}") from None
    cluster = Cluster(kubeconfig, context, endpoint, os.environ.get("TUNER_API_KEY"))
    asyncio.run(_change(Reversal if undo else Adoption, record, winner, cluster, deadline_s, yes))


async def _change(
    kind: type[Adoption], study: StudyRecord, winner: Winner, cluster: Cluster, deadline_s: float, yes: bool
) -> None:
    async with kind.open(winner, cluster) as adoption:
        diff = await adoption.preview()
        if diff is None:
            console.print(f"{winner.deployment} runs these settings already", highlight=False)
            return
        _show(winner, diff)
        for line in await doubts(study, cluster) if kind is Adoption else filter(None, [adoption.caution]):
            console.print(f"{line[:1].upper()}{line[1:]}\n", highlight=False, soft_wrap=True)
        if not yes:
            ask(f"{adoption.question} The engine restarts and serves nobody meanwhile.")
        took_s = await interruptible(adoption.apply(deadline_s, _say), say=_say)
    console.print(f"{adoption.done} after {units.duration(took_s)}", highlight=False)


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
