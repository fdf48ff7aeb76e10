"""A result in the form that somebody else can use: one module for each format."""

from __future__ import annotations

from collections.abc import Callable

from tuner.export.flags import flags
from tuner.export.manifest import manifest
from tuner.export.result import Result
from tuner.export.strategic_merge import strategic_merge

#: Turns a result into the text of a file, its header comments included. May raise Refused or InvalidInput.
Exporter = Callable[[Result], str]

#: The formats of `tuner export -o`.
FORMATS: dict[str, Exporter] = {"strategic-merge": strategic_merge, "flags": flags, "yaml": manifest}

__all__ = ["FORMATS", "Exporter", "Result"]
