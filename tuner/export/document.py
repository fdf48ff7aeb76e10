"""YAML text that Kubernetes reads as it was meant."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString, SingleQuotedScalarString

# Text that YAML 1.1, which Kubernetes reads, takes for nothing but text; "on", "1_000" and "12:30" are something else.
_PLAIN = re.compile(r"(--?)?[A-Za-z/][\w./=+@,-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def dump(content: Any) -> str:
    """`content` as one YAML document; every text that could be read as anything else is quoted."""
    yaml = YAML()
    yaml.width = 2**16  # an argument is never folded
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda _data: True
    out = io.StringIO()
    yaml.dump(_quoted(content), out)
    return out.getvalue()


def _quoted(content: Any) -> Any:
    if isinstance(content, str):
        return _scalar(content)
    if isinstance(content, Mapping):
        return {_scalar(str(key)): _quoted(value) for key, value in content.items()}
    if isinstance(content, Sequence):
        return [_quoted(value) for value in content]
    return content


def _scalar(text: str) -> Any:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if "\n" in text.rstrip("\n") and re.fullmatch(r"(\S([\x20-\x7e]*[\x21-\x7e])?\n)+", text, re.ASCII):
        return LiteralScalarString(text)
    # JSON is readable between single quotes only.
    if '"' in text and re.fullmatch(r"[\x20-\x7e]+", text):
        return SingleQuotedScalarString(text)
    return DoubleQuotedScalarString(text)
