"""Changing engine flags in a container's lists, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.core.errors import Refused
from tuner.core.flags import FlagEdit, FlagSpec, FlagSyntax, FlagUse
from tuner.podspec.container import flag_field
from tuner.podspec.flags import attached, escape, grammar, is_option, parse, references
from tuner.podspec.launch import launch


@dataclass(frozen=True)
class _Item:
    text: str
    field: str  # the list that it stands in: a flag may stand at the end of command and its value in args


def edit(container: Mapping[str, Any], syntax: FlagSyntax, edits: Sequence[FlagEdit]) -> dict[str, list[str]]:
    """The lists of `container` that change, each whole: {"args": [...]}, {"command": [...]} or both; {} for no change.

    Items of other flags stay as they are, in their order. A flag that is there keeps its spelling, its style
    (`=value` or two items) and its place; where it is repeated, the last one changes, as it is the one that counts. A
    new flag goes to the end (before a trailing `--`) in the style of the list. Removing a flag removes every use of
    it, its dotted JSON keys (`--speculative-config.method`) included; setting one replaces those keys.

    Raises Refused, naming every flag, where a value comes from the environment (`$(NAME)`), or where the result would
    not be read back as asked.
    """
    items = [_Item(text, field) for field in ("command", "args") for text in container.get(field) or []]
    start = launch([item.text for item in items]).start
    refuse_references(_uses(items, syntax, start), edits)
    end = flag_field(container)
    for change in edits:
        items = _apply(items, syntax, start, change, end)
    _verify(_uses(items, syntax, start), edits)
    result = {}
    for field in ("command", "args"):
        texts = [item.text for item in items if item.field == field]
        if texts != list(container.get(field) or []):
            result[field] = texts
    return result


def refuse_references(uses: Sequence[FlagUse], edits: Sequence[FlagEdit]) -> None:
    """Raise Refused where an edit would touch a flag whose value comes from an environment variable."""
    problems = []
    for use in uses:
        names = references(use.text)
        if use.flag is not None and names and any(_of(use, change.flag) for change in edits):
            variables = ", ".join(f"$({name})" for name in names)
            problems.append(f"--{use.flag.name} takes its value from the environment: {variables}")
    if problems:
        raise Refused("; ".join(problems) + "; write the value into the list, or leave this flag out of the search")


def _uses(items: Sequence[_Item], syntax: FlagSyntax, start: int) -> tuple[FlagUse, ...]:
    return parse([item.text for item in items], syntax, start)


def _apply(items: list[_Item], syntax: FlagSyntax, start: int, change: FlagEdit, end: str) -> list[_Item]:
    uses = _uses(items, syntax, start)
    mine = [use for use in uses if _of(use, change.flag)]
    value = change.value
    if value is None or (value is False and change.flag.negation is None):
        return _without(items, uses, mine)
    whole = [use for use in mine if _is_whole(use, change.flag, syntax)]
    if whole and len(whole) == len(mine) and mine[-1].value == value:
        return items
    if not mine:
        return _insert(items, syntax, start, change.flag, value, end)
    last = whole[-1] if whole else mine[-1]
    changed = _rewrite(items, syntax, last, change.flag, value)
    dotted = [use for use in mine if not _is_whole(use, change.flag, syntax) and use is not last]
    result = items[: last.index] + changed + items[last.index + last.span :]
    # Dotted keys are merged over the whole value by the engine, so none may stay behind.
    shift = len(changed) - last.span
    gone = {
        index + (shift if use.index > last.index else 0)
        for use in dotted
        for index in range(use.index, use.index + use.span)
    }
    return [item for index, item in enumerate(result) if index not in gone]


def _of(use: FlagUse, flag: FlagSpec) -> bool:
    """Whether a use is of this flag, or of one of its dotted JSON keys. Flags are told apart by name alone."""
    return use.flag is not None and (use.flag.name == flag.name or use.flag.name.startswith(f"{flag.name}."))


def _is_whole(use: FlagUse, flag: FlagSpec, syntax: FlagSyntax) -> bool:
    if use.flag is None or use.flag.name != flag.name:
        return False
    table = grammar(syntax)
    return (table.long_name(use.name) if use.text.startswith("--") else table.short_name(use.name)).whole


def _without(items: list[_Item], uses: Sequence[FlagUse], mine: Sequence[FlagUse]) -> list[_Item]:
    gone = {index for use in mine for index in range(use.index, use.index + use.span)}
    kept = [item for index, item in enumerate(items) if index not in gone]
    for use in mine:
        _refuse_swallowing(items, uses, gone, use)
    return kept


def _refuse_swallowing(items: Sequence[_Item], uses: Sequence[FlagUse], gone: set[int], use: FlagUse) -> None:
    """A flag that takes any number of values would take the positional item behind the removed flag as one more."""
    before = [other for other in uses if other.index < use.index and other.index not in gone]
    after = next((index for index in range(use.index, len(items)) if index not in gone), None)
    if not before or after is None or is_option(items[after].text) or items[after].text == "--":
        return
    previous = before[-1]
    adjacent = all(index in gone for index in range(previous.index + previous.span, after))
    if adjacent and previous.flag is not None and previous.flag.several and previous.span > 1:
        raise Refused(
            f"without --{use.name}, --{previous.name} would take {items[after].text!r} as one more of its values; "
            f"move {items[after].text!r} to the front of the list"
        )


def _insert(
    items: list[_Item], syntax: FlagSyntax, start: int, flag: FlagSpec, value: str | bool, end: str
) -> list[_Item]:
    texts = [item.text for item in items]
    at = texts.index("--", start) if "--" in texts[start:] else len(items)
    field = items[at].field if at < len(items) else end
    style = _separate(parse(texts, syntax, start))
    return items[:at] + [_Item(text, field) for text in _spell(f"--{flag.name}", flag, value, style)] + items[at:]


def _separate(uses: Sequence[FlagUse]) -> bool:
    """Whether most flags of a list have their values in an item of their own; the last one decides a tie."""
    styles = [use.span > 1 for use in uses if isinstance(use.value, str)]
    if not styles:
        return False
    return sum(styles) * 2 > len(styles) or (sum(styles) * 2 == len(styles) and styles[-1])


def _rewrite(
    items: Sequence[_Item], syntax: FlagSyntax, use: FlagUse, flag: FlagSpec, value: str | bool
) -> list[_Item]:
    """The items that replace one use: as it was spelled, with another value."""
    head, field = items[use.index].text, items[use.index].field
    letter = attached(head, syntax)
    if letter is not None and isinstance(value, str):
        equals = "=" if head[2:3] == "=" else ""
        return [_Item(f"-{letter}{equals}{escape(value)}", field)]
    written = head.partition("=")[0]
    negated = flag.negation is not None and use.value is False and use.span == 1
    if not _is_whole(use, flag, syntax) or (flag.boolean and (negated or not isinstance(value, str))):
        written = f"--{flag.name}"
    texts = _spell(written, flag, value, use.span > 1 if isinstance(use.value, str) else False)
    if len(texts) == 2 and use.span > 1:
        return [_Item(texts[0], field), _Item(texts[1], items[use.index + 1].field)]
    return [_Item(text, field) for text in texts]


def _spell(written: str, flag: FlagSpec, value: str | bool, separate: bool) -> list[str]:
    if value is True:
        return [written]
    if value is False:
        return [f"--{flag.negation}"]
    assert isinstance(value, str)
    # argparse takes an item that begins with a dash for a flag, unless it is a number.
    dashed = value.startswith("-") and not re.fullmatch(r"-\d+(\.\d*)?|-\.\d+", value)
    if separate and not dashed and not flag.boolean:
        return [written, escape(value)]
    return [f"{written}={escape(value)}"]


def _verify(uses: Sequence[FlagUse], edits: Sequence[FlagEdit]) -> None:
    """Read the result back: every flag has to say what was asked for."""
    wanted = {change.flag.name: change for change in edits}
    problems = []
    for change in wanted.values():
        flag, value = change.flag, change.value
        mine = [use for use in uses if _of(use, flag)]
        found = mine[-1].value if mine else None
        if value is False and flag.negation is None:
            value = None
        if found != value:
            problems.append(f"--{flag.name} would read back as {found!r} instead of {value!r}")
    if problems:
        raise Refused("; ".join(problems) + "; the list can't be edited safely")
