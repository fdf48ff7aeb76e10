"""Manifest files: several YAML documents, each readable or refused by name with its line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from tuner.podspec.shapes import Shape, Unsupported

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})(\s|$)", re.MULTILINE)
# Kubernetes' own parser takes a tab at the end of a line, ours does not.
_TRAILING_TAB = re.compile(r"[ \t]*\t[ \t]*$", re.MULTILINE)
# Far above any manifest; a few aliases of aliases would otherwise unfold into gigabytes.
_MOST_NODES = 1_000_000
_TEMPLATE = re.compile(r"\{\{.*?\}\}")


@dataclass(frozen=True)
class Document:
    """One document of a file. `line` is where its content begins, counted from 1.

    Where it can't be read, `content` is None and `problem` says why, at `problem_line`. A key given twice is a problem
    beside the content: the first of the two values is kept.
    """

    line: int
    content: Any
    problem: Unsupported | None = None
    problem_line: int | None = None


def load(text: str) -> list[Document]:
    """Read every document of a file; one that can't be read does not hide the others. Empty ones are left out."""
    documents = [_document(part, line) for part, line in _split(text)]
    return [document for document in documents if document.content is not None or document.problem is not None]


def _split(text: str) -> Iterator[tuple[str, int]]:
    part: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if re.match(r"---(\s|$)", line):
            yield "".join(part), first
            # What follows the dashes ("--- # comment", "--- {a: 1}") belongs to the new document.
            part, first = [line[3:]], number
        elif re.match(r"\.\.\.\s*$", line):
            part.append("\n")
        else:
            part.append(line)
    yield "".join(part), first


def _document(text: str, line: int) -> Document:
    first = line + _leading(text)
    try:
        return Document(first, _parse(text, duplicates=False))
    except DuplicateKeyError as error:
        at = _line(error, line)
        problem = Unsupported(Shape.MALFORMED, f"a key is given twice at line {at}: {_key(error)}")
        return Document(first, _parse(text, duplicates=True), problem, at)
    except (YAMLError, ValueError) as error:
        problem, at = _diagnose(text, error, line)
        return Document(first, None, problem, at)


def _leading(text: str) -> int:
    """How many lines of comments and nothing a text begins with."""
    lines = text.splitlines()
    return next((index for index, line in enumerate(lines) if not re.match(r"\s*(#|$)", line)), 0)


def _parse(text: str, duplicates: bool) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = duplicates
    text = _TRAILING_TAB.sub("", text)
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        if root is not None and _unfolded(root, {}) > _MOST_NODES:
            raise MarkedYAMLError(problem="its aliases unfold into too much", problem_mark=root.start_mark)
        return yaml.load(io.StringIO(text))
    except RecursionError:
        raise MarkedYAMLError(problem="it is nested too deeply") from None


def _unfolded(node: Node, sizes: dict[int, int]) -> int:
    """How many nodes a document has where every alias stands for a copy."""
    if id(node) not in sizes:
        sizes[id(node)] = 1  # an alias to what it is part of
        children = [one for pair in node.value for one in pair] if isinstance(node, MappingNode) else node.value
        parts = children if isinstance(node, CollectionNode) else ()
        sizes[id(node)] = 1 + sum(_unfolded(part, sizes) for part in parts)
    return sizes[id(node)]


def _diagnose(text: str, error: Exception, line: int) -> tuple[Unsupported, int]:
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        at = line + text.count("\n", 0, conflict.start())
        return Unsupported(Shape.MERGE_CONFLICT, f"a merge conflict was committed at line {at}"), at
    template = _TEMPLATE.search(text)
    if template is not None:
        at = line + text.count("\n", 0, template.start())
        reason = f"line {at} has a placeholder in double braces: this is a template, not a manifest"
        return Unsupported(Shape.HELM_TEMPLATE, reason), at
    at = _line(error, line)
    detail = (getattr(error, "problem", None) or "not YAML").splitlines()[0]
    return Unsupported(Shape.MALFORMED, f"not valid YAML at line {at}: {detail}"), at


def _line(error: Exception, line: int) -> int:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    return line + (mark.line if mark is not None else 0)


def _key(error: DuplicateKeyError) -> str:
    """The key's name from the parser's message, without the values that the message quotes too."""
    match = re.search(r'found duplicate key "([^"]*)"', str(error.problem))
    return repr(match[1]) if match else "see there"
