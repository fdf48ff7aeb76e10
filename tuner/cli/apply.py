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
from tuner.study import units
from tuner.study.access import Access
from tuner.study.adoption import Adoption
from tuner.study.report import find_study
from tuner.study.reversal import Reversal
from tuner.study.signals import interruptible
from tuner.study.spec.quantity import parse_duration
from tuner.study.winner import Winner, winner_of

_RESTART = "The engine restarts and serves nobody meanwhile."
_INEXACT = (
    "No revision in its history explains these lists: the flags are set back, perhaps in another place than before.\n"
)


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
        winner = winner_of(find_study(store, study))
    try:
        deadline_s = parse_duration(rollout_deadline)
    except ValueError as error:
        raise InvalidInput(f"--rollout-deadline: {error}") from None
    access = Access(kubeconfig, context, endpoint, os.environ.get("TUNER_API_KEY"))
    asyncio.run(_undo(winner, access, deadline_s, yes) if undo else _apply(winner, access, deadline_s, yes))


async def _apply(winner: Winner, access: Access, deadline_s: float, yes: bool) -> None:
    async with Adoption.open(winner, access) as adoption:
        diff = await adoption.preview()
        if diff is None:
            _settled(winner)
            return
        _show(winner, diff)
        took_s = await _changed(adoption, f"Apply this? {_RESTART}", deadline_s, yes)
    _done(f"{winner.deployment} runs the winner of study {winner.study}", took_s)


async def _undo(winner: Winner, access: Access, deadline_s: float, yes: bool) -> None:
    async with Reversal.open(winner, access) as reversal:
        diff = await reversal.preview()
        if diff is None:
            _settled(winner)
            return
        _show(winner, diff)
        if not reversal.exact:
            console.print(_INEXACT, highlight=False)
        took_s = await _changed(reversal, f"Take the winner back? {_RESTART}", deadline_s, yes)
    _done(f"{winner.deployment} runs what it ran before the winner of study {winner.study}", took_s)


async def _changed(adoption: Adoption, question: str, deadline_s: float, yes: bool) -> float:
    """Ask and change; the seconds that it took."""
    if not yes:
        ask(question)
    return await interruptible(adoption.apply(deadline_s, _say), say=_say)


def _settled(winner: Winner) -> None:
    console.print(f"{winner.deployment} runs these settings already", highlight=False)


def _done(what: str, took_s: float) -> None:
    console.print(f"{what} after {units.duration(took_s)}", highlight=False)


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
