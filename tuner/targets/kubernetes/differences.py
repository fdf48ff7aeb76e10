"""What differs between two values of a field, for people: one list item per line, secrets masked.

Nothing is decided by these texts: masked, two different values can look the same.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from tuner.core.flags import SECRET_FLAG
from tuner.core.redact import redact

_SECRET = re.compile(SECRET_FLAG)


def diff(name: str, before: Any, after: Any, left: str, right: str) -> str:
    """A unified diff of one field."""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"{name} ({left})", f"{name} ({right})", lineterm="")
    return "\n".join(redact(line) for line in lines)


def _lines(value: Any) -> list[str]:
    if isinstance(value, list):
        return _masked([str(item) for item in value])
    if isinstance(value, Mapping):
        return [f"{key}: {json.dumps(value[key], sort_keys=True)}" for key in sorted(value)]
    return [] if value is None else [str(value)]


def _masked(items: list[str]) -> list[str]:
    """A secret flag may have several values, each an item of its own."""
    shown: list[str] = []
    secret = False
    for item in items:
        name, equals, _ = item.partition("=")
        if secret and not item.startswith("-"):
            shown.append("***")
            continue
        secret = _SECRET.fullmatch(name) is not None
        shown.append(f"{name}=***" if secret and equals else item)
        secret = secret and not equals
    return shown
