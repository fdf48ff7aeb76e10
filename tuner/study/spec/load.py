"""Loading a study: options over file over defaults, and every mistake told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuner.core.errors import InvalidInput
from tuner.study.spec.agreement import disagreements
from tuner.study.spec.complaints import complaint, explain
from tuner.study.spec.document import Document, FieldPath, read_document
from tuner.study.spec.options import Given, merge
from tuner.study.spec.sections import StudySpec

_Found = tuple[FieldPath, str]
_SECTIONS = ("target", "workload", "slos", "objective", "search", "budget")


def load_spec(
    path: Path | None,
    options: Mapping[str, Any],
    *,
    default_storage: str | None = None,
    now: datetime | None = None,
) -> StudySpec:
    """A study from a YAML file (None: none) and command-line options by their spelling (options.OPTIONS).

    `default_storage` is the URL where neither names one. Times without a zone are in the zone of `now` (aware; None:
    the local time). Raises InvalidInput with every mistake: where it is, the field, the value and what is allowed.
    """
    document = Document() if path is None else read_document(path)
    sources = {at: f"{path}:{line}" for at, line in document.lines.items()}
    given = Given(_tidy(document.data), sources, list(document.broken))
    problems = list(document.problems)
    try:
        merge(given, options)
    except InvalidInput as error:
        problems += error.problems
    given.data.setdefault("storage", default_storage)
    context = {"now": now or datetime.now().astimezone(), "folder": path.parent if path else None}
    spec, found = _validate(given, context)
    problems += [complaint(at, text, sources) for at, text in found if not _told(at, given.broken)]
    if problems or spec is None:
        raise InvalidInput(*dict.fromkeys(problems))
    return spec


def default_storage(environment: Mapping[str, str], home: Path) -> str:
    """The URL of the user's own database: `tuner/tuner.db` in the XDG data folder."""
    data = environment.get("XDG_DATA_HOME", "")
    folder = Path(data) if data.startswith("/") else home / ".local" / "share"  # XDG: relative paths are ignored
    return f"sqlite:///{folder / 'tuner' / 'tuner.db'}"


def _tidy(data: dict[str, Any]) -> dict[str, Any]:
    """A section of which every line is commented out says nothing; shorthands become what options are laid over."""
    tidied = {name: value for name, value in data.items() if value is not None or name not in _SECTIONS}
    if isinstance(tidied.get("objective"), str):
        tidied["objective"] = {"kind": tidied["objective"]}
    target = tidied.get("target")
    if isinstance(target, dict) and "kubernetes" in target and target["kubernetes"] is None:
        tidied["target"] = {**target, "kubernetes": {}}
    return tidied


def _told(path: FieldPath, broken: Sequence[FieldPath]) -> bool:
    """Whether the file's reader has told already what is wrong here: the field itself, or one inside it."""
    return any(path[: len(one)] == one or one[: len(path)] == path for one in broken)


def _validate(given: Given, context: Mapping[str, Any]) -> tuple[StudySpec | None, list[_Found]]:
    try:
        spec = StudySpec.model_validate(given.data, context=dict(context))
    except ValidationError as error:
        found = [explain(one, StudySpec, given.data) for one in error.errors()]
        return None, found + _further(given, context, frozenset(str(path[0]) for path, _ in found))
    return spec, [(one.path, one.text) for one in disagreements(spec)]


def _further(given: Given, context: Mapping[str, Any], broken: frozenset[str]) -> list[_Found]:
    """Where some fields are broken, whether the others agree with each other is told all the same."""
    rest = {name: value for name, value in given.data.items() if name not in broken}
    if "target" in broken:
        rest["target"] = {"kubernetes": {}}
    try:
        spec = StudySpec.model_validate(rest, context=dict(context))
    except ValidationError:
        return []
    return [(one.path, one.text) for one in disagreements(spec) if not one.about & broken]
