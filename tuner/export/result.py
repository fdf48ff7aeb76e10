"""What is exported: a container's new flags, and where they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.core.flags import FlagEdit
from tuner.engines import engine_named
from tuner.podspec import parse


@dataclass(frozen=True)
class Result:
    """A study's result on one container of one Deployment.

    `original` holds the container's lists as they were ({"args": [...]}; None where a list was absent), `changed` the
    whole new lists of the fields that differ (as `podspec.edit` gives them; {} for no change), `edits` the flags behind
    them. `resources` are the limits and requests that change with them ({"limits": {"nvidia.com/gpu": "2"}}).
    `selector` is the Deployment's own, {} where nobody has looked at it.
    `gain` and `date` are text for the header. No value of an environment variable is ever needed.
    """

    study: str
    date: str
    gain: str
    engine: str
    namespace: str
    deployment: str
    container: str
    original: Mapping[str, Sequence[str] | None]
    changed: Mapping[str, Sequence[str]]
    edits: Sequence[FlagEdit]
    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    selector: Mapping[str, Any] = field(default_factory=dict)

    def header(self, *usage: str) -> str:
        """Comment lines: where this comes from, what changed, how to use it."""
        lines = [
            f"Written by tuner on {self.date}, from study {self.study}.",
            *self._where(),
            f"Result: {self.gain}",
            *(f"Changed: {line}" for line in self.changes()),
            *usage,
        ]
        return "".join(f"# {part}\n" for line in lines for part in line.splitlines())

    def _where(self) -> list[str]:
        """On what it was measured; a simulated engine is in no container, and flags alone need none."""
        if not self.deployment:
            return []
        container = f"in container {self.container} " if self.container else ""
        return [f"{self.engine} {container}of Deployment {self.deployment}, namespace {self.namespace}."]

    def changes(self) -> list[str]:
        """One line for each flag that is set or removed."""
        set_ = [f"{name}={value}" if value is not None else name for name, value in self.spelled()]
        return set_ + [f"without --{flag}" for flag in self.removed()] or ["nothing"]

    def spelled(self) -> list[tuple[str, str | None]]:
        """The flags that are set: as written, with the value of those that take one."""
        found: list[tuple[str, str | None]] = []
        for edit in self.edits:
            if edit.value is True:
                found.append((f"--{edit.flag.name}", None))
            elif edit.value is False and edit.flag.negation is not None:
                found.append((f"--{edit.flag.negation}", None))
            elif isinstance(edit.value, str):
                found.append((f"--{edit.flag.name}", edit.value))
        return found

    def removed(self) -> list[str]:
        """Names of the flags that were there and are not any more."""
        before = self._words(self.original)
        after = self._words({**self.original, **self.changed})
        gone = [edit.flag for edit in self.edits if edit.value is None or edit.value is False]
        return [flag.name for flag in gone if flag.name in before - after]

    def secrets(self) -> bool:
        """Whether a new list holds what looks like a secret (an API key), so that the export does too."""
        engine = engine_named(self.engine)
        return any(engine.redact(" ".join(items)) != " ".join(items) for items in self.changed.values())

    def _words(self, lists: Mapping[str, Sequence[str] | None]) -> set[str]:
        """Names of the flags in use, also where they are abbreviated or written with another of their names."""
        syntax = engine_named(self.engine).syntax()
        items = [item for name in ("command", "args") for item in lists.get(name) or ()]
        return {use.flag.name for use in parse(items, syntax) if use.flag is not None}
