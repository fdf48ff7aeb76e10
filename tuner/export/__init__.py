"""A result in the form that somebody else can use: one module for each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuner.export.flags import flags
from tuner.export.manifest import manifest
from tuner.export.result import Result
from tuner.export.strategic_merge import strategic_merge

_YAML, _TEXT = "application/yaml", "text/plain"


@dataclass(frozen=True)
class Format:
    """One format, and what it is kept as.

    `write` turns a result into the text of a file, its header comments included, and may raise Refused or InvalidInput.
    `ending` is the end of the file's name, `kind` its media type, `about` what it is for. A format that stands `alone`
    needs no look at the Deployment.
    """

    write: Callable[[Result], str]
    ending: str
    kind: str
    about: str
    alone: bool = False


#: The formats of `tuner export -o`.
FORMATS: Mapping[str, Format] = {
    "strategic-merge": Format(
        strategic_merge, "-patch.yaml", _YAML, "a patch for kubectl or kustomize: the lists of flags that change"
    ),
    "flags": Format(flags, "-flags.txt", _TEXT, "the engine's flags alone", alone=True),
    "yaml": Format(
        manifest,
        "-deployment.yaml",
        _YAML,
        "the same as the patch with the Deployment's name, for server-side apply",
    ),
}

__all__ = ["FORMATS", "Format", "Result"]
