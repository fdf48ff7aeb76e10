"""A study's winner in the formats of `tuner export`: one of them, or all that can be had, and why others can't."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.core.errors import InvalidInput, TunerError
from tuner.export import FORMATS, Format, Result
from tuner.study.cluster import Cluster
from tuner.study.winner import Winner, as_flags, on_deployment
from tuner.targets.kubernetes.client import Client

_NO_CLUSTER = "it is written against the Deployment as it is now, and no cluster is reached from here"
_SIMULATED = "a simulated target has no Deployment to patch"


@dataclass(frozen=True)
class Export:
    """A winner in one format: its text, or why it can't be had (`reason`); the other one is empty.

    `file` is a name for it, `command` what else writes it. `secret`: what looks like a secret is in it.
    """

    format: Format
    file: str
    command: str
    text: str = ""
    reason: str = ""
    secret: bool = False

    @property
    def withheld(self) -> str:
        """Why a page does not show it; empty where it may."""
        if self.secret:
            return f"it has what looks like a secret in it, which is not shown here; get it with `{self.command}`"
        return self.reason and f"it can't be had: {self.reason}"


async def export(winner: Winner, format_: str, cluster: Cluster) -> str:
    """The winner in one format; a cluster is only asked where the format needs it.

    Raises InvalidInput where a simulated target can't be written so, Refused where its flags were changed since.
    """
    wanted = FORMATS[format_]
    if wanted.alone:
        return wanted.write(as_flags(winner))
    if winner.simulated:
        allowed = ", ".join(name for name, one in FORMATS.items() if one.alone)
        raise InvalidInput(f"-o {format_}: {_SIMULATED}; allowed: -o {allowed}")
    async with cluster.client() as client:
        return wanted.write(await on_deployment(winner, client))


async def exports(winner: Winner, client: Client | None, why: str = _NO_CLUSTER) -> dict[str, Export]:
    """Every format there is. `why` is said of those that need a cluster where there is no client."""
    alone, live = _alone(winner), await _live(winner, client, why)
    return {name: _export(winner, name, alone if format_.alone else live) for name, format_ in FORMATS.items()}


def _alone(winner: Winner) -> Result | str:
    """The winner's flags, or why they can't be had."""
    try:
        return as_flags(winner)
    except TunerError as error:
        return str(error)


async def _live(winner: Winner, client: Client | None, why: str) -> Result | str:
    """The winner on its Deployment, or why it can't be had so."""
    if winner.simulated:
        return _SIMULATED
    if client is None:
        return why
    try:
        return await on_deployment(winner, client)
    except TunerError as error:
        return str(error)


def _export(winner: Winner, name: str, found: Result | str) -> Export:
    format_ = FORMATS[name]
    as_what = (format_, f"{winner.study}{format_.ending}", f"tuner export {winner.study} -o {name}")
    if isinstance(found, str):
        return Export(*as_what, reason=found)
    try:
        text = format_.write(found)
    except TunerError as error:
        return Export(*as_what, reason=str(error))
    return Export(*as_what, text, secret=found.secrets())
