"""Reading a study's file: YAML 1.2 as plain data, with the line of every field."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tuner.core.errors import InvalidInput

FieldPath = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
# Far above any study; a few aliases of aliases would otherwise unfold into gigabytes.
_MAX_BYTES, _MAX_NODES, _MAX_DEPTH = 1_000_000, 20_000, 20


@dataclass
class Document:
    """The data of one file, and the line of every field, by its path.

    `problems` is what could not be read; the fields in `broken` are None in the data for that reason.
    """

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[FieldPath, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    broken: list[FieldPath] = field(default_factory=list)


def dotted(path: FieldPath) -> str:
    """`slos[0]`, `budget.starts`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def read_document(path: Path) -> Document:
    """Read one YAML file. Raises InvalidInput where it is not a YAML mapping at all."""
    root = _compose(path, _read(path))
    if root is None:
        raise InvalidInput(f"{path}: is empty; a study names at least its target (docs/spec.md)")
    if not isinstance(root, MappingNode):
        kind = "a list" if isinstance(root, SequenceNode) else "a single value"
        raise InvalidInput(
            f"{path}:{root.start_mark.line + 1}: is {kind}; a study is a mapping of fields (docs/spec.md)"
        )
    return _Reader(path).read(root)


def parse_scalar(text: str) -> Any:
    """One value as YAML 1.2 reads it: true, 12, 0.9, or text. Raises ValueError for numbers that are not finite."""
    node = ScalarNode(_resolved(text), text)
    return _scalar(node)


def _read(path: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror or error}") from error
    if len(raw) > _MAX_BYTES:
        raise InvalidInput(f"{path}: has {len(raw)} bytes; a study has at most {_MAX_BYTES}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{path}:{line}: is not UTF-8 text (byte 0x{raw[error.start]:02x})") from error


def _compose(path: Path, text: str) -> Node | None:
    try:
        root: Node | None = YAML(typ="rt", pure=True).compose(text)
        return root
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "is not YAML"
        if "'\\t'" in problem:
            problem = "has a tab where YAML takes only spaces"
        elif "another document" in problem:
            problem = "holds a second YAML document; a file is one study"
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InvalidInput(f"{where}: {problem}") from error
    except YAMLError as error:
        raise InvalidInput(f"{path}: is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise InvalidInput(f"{path}: is nested too deeply") from None


class _Reader:
    """Turns nodes into plain data and goes on after a mistake, so that all of them are told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document = Document()
        self.nodes = 0

    def read(self, root: MappingNode) -> Document:
        self.document.data = self.mapping(root, ())
        return self.document

    def problem(self, node: Node, text: str) -> None:
        self.document.problems.append(f"{self.path}:{node.start_mark.line + 1}: {text}")

    def value(self, node: Node, at: FieldPath) -> Any:
        self.nodes += 1
        if self.nodes > _MAX_NODES or len(at) > _MAX_DEPTH:
            raise InvalidInput(f"{self.path}:{node.start_mark.line + 1}: the file is nested too deeply or too large")
        self.document.lines[at] = node.start_mark.line + 1
        if isinstance(node, MappingNode):
            return self.mapping(node, at)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
        try:
            return _scalar(node)
        except ValueError as error:
            self.problem(node, f"{dotted(at)}: {node.value[:80]} {error}")
            self.document.broken.append(at)
            return None

    def mapping(self, node: MappingNode, at: FieldPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        where = dotted(at) or "study"
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            if _short(key) == "merge":
                self.problem(key, f"{where}: merge keys (<<) are not taken; write the fields out")
            elif name is None:
                self.problem(key, f"{where}: a field's name must be plain text")
            elif name in data:
                first = self.document.lines[(*at, name)]
                self.problem(key, f"{dotted((*at, name))}: is there twice; the first is in line {first}")
            else:
                data[name] = self.value(value, (*at, name))
                # A section begins at its name, not at its first field.
                self.document.lines[(*at, name)] = key.start_mark.line + 1
        return data


def _scalar(node: Any) -> Any:
    kind, text = _short(node), node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return _integer(text)
    if kind == "float":
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(value):
            raise ValueError("is not a finite number")
        return value
    if kind in ("str", "timestamp"):
        return text
    raise ValueError(f"has the tag !{kind}; allowed: plain values")


def _integer(text: str) -> int:
    if re.fullmatch(r"[-+]?0\d+", text):
        raise ValueError("has a leading zero; write it without")
    if len(text) > 40:
        raise ValueError("is too large a number")
    return int(text, 0)


def _short(node: Any) -> str:
    return str(node.tag).removeprefix(_TAG)


def _resolved(text: str) -> str:
    node = YAML(typ="rt", pure=True).compose(text) if re.fullmatch(r"[-+.\w]+", text) else None
    return str(node.tag) if isinstance(node, ScalarNode) else f"{_TAG}str"
