"""Manifests from public repositories, of every shape that people write."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.podspec.syntax import owns
from tuner.core.flags import FlagEdit, FlagSpec, FlagSyntax
from tuner.podspec import EngineContainer, UnsupportedShape, edit, find_engine, parse
from tuner.podspec.container import flag_field
from tuner.podspec.documents import load
from tuner.podspec.kinds import expand, object_problem
from tuner.podspec.shapes import Unsupported

DATA = os.environ.get("TUNER_REFERENCE_DATA")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(DATA is None, reason="TUNER_REFERENCE_DATA is not set"),
]
REFUSED_CLASSES = set("EFHIJKLMNST")


@dataclass(frozen=True)
class Entry:
    file: Path
    engine: str
    kinds: set[str]
    classes: set[str]


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    folder = Path(DATA or "") / "manifests"
    with (folder / "index.csv").open() as file:
        return [
            Entry(
                folder / row["file"], row["engine"], set(row["kind"].split("/")), set(row["class_codes"].split(" + "))
            )
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def syntax() -> FlagSyntax:
    """All flags of a real vLLM."""
    flags = []
    for option in json.loads((Path(DATA or "") / "vllm-cpu" / "vllm_serve_flags.json").read_text()):
        names = [name[2:] for name in option["flags"] if name.startswith("--")]
        negation = next((name for name in names if name.startswith("no-") and name[3:] in names), None)
        names = [name for name in names if name != negation]
        short = tuple(name[1:] for name in option["flags"] if not name.startswith("--"))
        if names:
            several, boolean = option["nargs"] in ("+", "*"), option["nargs"] == 0
            flags.append(FlagSpec(names[0], tuple(names[1:]), short, boolean, negation, several))
    return FlagSyntax(tuple(flags))


def outcomes(text: str, syntax: FlagSyntax) -> Iterator[tuple[Any, EngineContainer] | Unsupported]:
    """What each object of a file comes to: its container, found and read, or why it can't be."""
    for document in load(text):
        if document.problem is not None:
            yield document.problem
        for item in expand(document.content) if document.content is not None else ():
            problem = object_problem(item)
            if problem is not None:
                yield problem
            elif item["kind"] == "Deployment":
                template = item["spec"]["template"]
                try:
                    found = find_engine(template, owns, syntax)
                except UnsupportedShape as refusal:
                    yield refusal.unsupported
                else:
                    containers = template["spec"]["containers"]
                    yield next(container for container in containers if container["name"] == found.name), found


def test_every_deployment_with_flags_in_a_list_is_read_and_edited(entries: list[Entry], syntax: FlagSyntax) -> None:
    by_name = {flag.name: flag for flag in syntax.flags}
    edits = [
        FlagEdit(by_name["max-num-seqs"], "128"),
        FlagEdit(by_name["max-num-batched-tokens"], "4096"),
        FlagEdit(by_name["kv-cache-dtype"], "fp8"),
        FlagEdit(by_name["speculative-config"], '{"method": "ngram", "num_speculative_tokens": 3}'),
        FlagEdit(by_name["enable-prefix-caching"], False),
    ]
    plain = [
        entry
        for entry in entries
        if entry.engine == "vllm"
        and "Deployment" in entry.kinds
        and entry.classes & set("ABCD")
        and not entry.classes & REFUSED_CLASSES
    ]
    assert len(plain) >= 10
    for entry in plain:
        read = [outcome for outcome in outcomes(entry.file.read_text(), syntax) if not isinstance(outcome, Unsupported)]
        assert read, entry.file.name
        for container, found in read:
            assert len(found.uses) >= 2, entry.file.name
            changed = {**container, **edit(container, syntax, edits)}
            assert_reads_back(changed, syntax, edits)
            assert_rest_is_the_same(container, changed, syntax, {change.flag for change in edits})


def assert_reads_back(container: dict[str, Any], syntax: FlagSyntax, edits: list[FlagEdit]) -> None:
    uses = find_engine({"spec": {"containers": [container]}}, lambda *_: True, syntax).uses
    for change in edits:
        assert [use.value for use in uses if use.flag == change.flag][-1] == change.value


def assert_rest_is_the_same(
    before: dict[str, Any], after: dict[str, Any], syntax: FlagSyntax, touched: set[FlagSpec]
) -> None:
    for field in ("command", "args"):
        assert rest(before.get(field), syntax, touched) == rest(after.get(field), syntax, touched)
    others = set(before) | set(after)
    assert {key for key in others if before.get(key) != after.get(key)} <= {flag_field(before), "args", "command"}


def rest(items: list[str] | None, syntax: FlagSyntax, touched: set[FlagSpec]) -> list[str]:
    uses = [use for use in parse(items or [], syntax) if use.flag in touched]
    gone = {index for use in uses for index in range(use.index, use.index + use.span)}
    return [item for index, item in enumerate(items or []) if index not in gone]


def test_every_other_engine_is_refused_by_name(entries: list[Entry], syntax: FlagSyntax) -> None:
    for entry in entries:
        if entry.classes & (REFUSED_CLASSES - set("MST")) and "ConfigMap" not in entry.kinds:
            refusals = [found for found in outcomes(entry.file.read_text(), syntax) if isinstance(found, Unsupported)]
            assert refusals, entry.file.name
            assert all(refusal.reason and refusal.instead for refusal in refusals)
