"""A study's winner in the formats of `tuner export`: one of them, or all that can be had, and why others can't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.core.errors import TunerError
from tuner.export import FORMATS, Result
from tuner.study.access import Access
from tuner.study.winner import Winner, as_flags, formats_for, on_deployment
from tuner.targets.kubernetes.client import Client

_YAML, _TEXT = "application/yaml", "text/plain"
_NO_CLUSTER = "it is written against the Deployment as it is now, and no cluster is reached from here"
_SIMULATED = "a simulated target has no Deployment to patch"


@dataclass(frozen=True)
class Form:
    """What a format is kept as: the end of its file's name, its media type, and what it is for."""

    ending: str
    kind: str
    about: str


#: By the names of tuner.export.FORMATS.
FORMS: Mapping[str, Form] = {
    "strategic-merge": Form("-patch.yaml", _YAML, "a patch for kubectl or kustomize: the lists of flags that change"),
    "flags": Form("-flags.txt", _TEXT, "the engine's flags alone"),
    "yaml": Form("-deployment.yaml", _YAML, "the same as the patch with the Deployment's name, for server-side apply"),
}


@dataclass(frozen=True)
class Export:
    """A winner in one format: its text, or why it can't be had (`reason`); the other one is empty.

    `file` is a name for it, `kind` its media type, `about` what it is for. `secret`: what looks like a secret is in it.
    """

    file: str
    kind: str
    about: str
    text: str = ""
    reason: str = ""
    secret: bool = False


async def export(winner: Winner, format_: str, access: Access) -> str:
    """The winner in one format; a cluster is only asked where the format needs it.

    Raises InvalidInput where a simulated target can't be written so, Refused where its flags were changed since.
    """
    if _stands_alone(wanted := formats_for(winner, format_)):
        return FORMATS[wanted](as_flags(winner))
    async with access.client() as client:
        return FORMATS[wanted](await on_deployment(winner, client))


async def exports(winner: Winner, client: Client | None, why: str = _NO_CLUSTER) -> dict[str, Export]:
    """Every format there is. `why` is said of those that need a cluster where there is no client."""
    live = await _live(winner, client, why)
    return {name: _export(winner, name, as_flags(winner) if _stands_alone(name) else live) for name in FORMATS}


def _stands_alone(format_: str) -> bool:
    return format_ == "flags"


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


def _export(winner: Winner, format_: str, found: Result | str) -> Export:
    form = FORMS[format_]
    file = f"{winner.study}{form.ending}"
    if isinstance(found, str):
        return Export(file, form.kind, form.about, reason=found)
    try:
        text = FORMATS[format_](found)
    except TunerError as error:
        return Export(file, form.kind, form.about, reason=str(error))
    return Export(file, form.kind, form.about, text, secret=found.secrets())
