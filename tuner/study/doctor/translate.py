"""A command line rewritten by an engine's advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.core.flags import FlagUse
from tuner.engines.engine import FlagAdvice


def translate(
    container: Mapping[str, Any], uses: Sequence[FlagUse], advice: Sequence[FlagAdvice]
) -> dict[str, list[str]]:
    """The lists of `container` that change when every advice that names a replacement is taken; {} where none does.

    Several flags that are replaced by the same one become one, where the first of them stood.
    """
    items = [(field, text) for field in ("command", "args") for text in container.get(field) or []]
    replaced = _replacements(uses, advice)
    result: list[tuple[str, str]] = []
    index = 0
    by_index = {use.index: use for use in uses if use.index in replaced}
    while index < len(items):
        use = by_index.get(index)
        if use is None:
            result.append(items[index])
            index += 1
        else:
            result += [(items[index][0], text) for text in replaced[index]]
            index += use.span
    lists = {field: [text for name, text in result if name == field] for field in ("command", "args")}
    return {field: texts for field, texts in lists.items() if texts != list(container.get(field) or [])}


def _replacements(uses: Sequence[FlagUse], advice: Sequence[FlagAdvice]) -> dict[int, list[str]]:
    """What stands in the place of each use that is to go, by its index."""
    instead = {entry.flag: entry.instead for entry in advice if entry.instead is not None}
    written = {use.text for use in uses}
    found: dict[int, list[str]] = {}
    for use in uses:
        text = instead.get(use.text)
        if text is None:
            continue
        if not text.startswith("--"):
            found[use.index] = []  # "leave it out"
        elif text in written:
            found[use.index] = []
        else:
            found[use.index] = _styled(text, use)
            written.add(text)
    return found


def _styled(text: str, use: FlagUse) -> list[str]:
    name, equals, value = text.partition("=")
    if use.span > 1 and equals and not value.startswith("-"):
        return [name, value]
    if not equals and " " in name:
        return name.split(" ", 1)
    return [text]
