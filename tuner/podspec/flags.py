"""Engine flags in a list of command-line items, read the way argparse (and vLLM's extension of it) reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tuner.core.flags import FlagSpec, FlagSyntax, FlagUse

_OPTION = re.compile(r"--?[A-Za-z][\w.+-]*(?=\Z|=)")
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def references(text: str) -> tuple[str, ...]:
    """Names of the variables that Kubernetes puts into an item: `$(NAME)`, but not the escaped `$$(NAME)`."""
    return tuple(match[1] for match in _REFERENCE.finditer(text) if match[1])


def unescape(text: str) -> str:
    """The text that the engine sees for an item without references: Kubernetes turns `$$` into `$`."""
    return text.replace("$$", "$")


def escape(text: str) -> str:
    """The item that gives the engine exactly `text`."""
    return re.sub(r"\$(?=[$(])", "$$", text)


@dataclass(frozen=True)
class Spelling:
    """What a name on the command line stands for: a flag, and for a boolean the value it gives. None: unknown."""

    flag: FlagSpec | None
    on: bool = True
    whole: bool = True  # False: one key of a JSON-valued flag (--speculative-config.method)


@dataclass(frozen=True)
class Grammar:
    """A FlagSyntax made ready for looking names up."""

    syntax: FlagSyntax
    long: dict[str, Spelling] = field(hash=False)
    short: dict[str, Spelling] = field(hash=False)

    def long_name(self, name: str) -> Spelling:
        """Look up a name written with two dashes (given without them): exact, dotted, then by unique prefix."""
        name = self.normalise(name)
        found = self.long.get(name)
        if found is not None:
            return found
        base, dot, key = name.partition(".")
        return self._key(self.long_name(base), key) if dot else self._by_prefix(self.long, name)

    def short_name(self, name: str) -> Spelling:
        """Look up a name written with one dash (given without it)."""
        base, dot, key = name.partition(".")
        found = self.short.get(base) or self._by_prefix(self.short, base)
        return self._key(found, key) if dot else found

    def _key(self, base: Spelling, key: str) -> Spelling:
        """One key of a JSON-valued flag: a flag of its own where the syntax has it, else the flag itself."""
        if base.flag is None or base.flag.boolean:
            return Spelling(None)
        own = self.long.get(f"{base.flag.name}.{key}") or self.long.get(f"{base.flag.name}.{key.replace('_', '-')}")
        return own or Spelling(base.flag, whole=False)

    def normalise(self, name: str) -> str:
        """`name` with hyphens, as far as the engine holds _ and - to be equal: up to the first dot."""
        base, dot, rest = name.partition(".")
        return base.replace("_", "-") + dot + rest

    def _by_prefix(self, names: dict[str, Spelling], prefix: str) -> Spelling:
        if not prefix:
            return Spelling(None)
        found = {spelling for name, spelling in names.items() if name.startswith(prefix) and "." not in name}
        return found.pop() if len(found) == 1 else Spelling(None)


@lru_cache(maxsize=32)
def grammar(syntax: FlagSyntax) -> Grammar:
    """The lookup tables of a syntax."""
    long: dict[str, Spelling] = {}
    short: dict[str, Spelling] = {}
    for flag in syntax.flags:
        for name in (flag.name, *flag.aliases):
            long[name.replace("_", "-")] = Spelling(flag)
        if flag.negation is not None:
            long[flag.negation] = Spelling(flag, on=False)
        for name in flag.short:
            short[name] = Spelling(flag)
    return Grammar(syntax, long, short)


def parse(items: Sequence[str], syntax: FlagSyntax, start: int = 0) -> tuple[FlagUse, ...]:
    """Every flag in `items[start:]`, in order; `index` counts from the beginning of `items`.

    Positional items are passed over, `--` ends the flags. A value is text, True or False for a boolean flag written
    without one, or None where a value is missing. `$(NAME)` references stay as written (see `references`). An item
    after an unknown flag is taken for its value. The last use of a flag is the one that counts.
    """
    table = grammar(syntax)
    uses: list[FlagUse] = []
    index = start
    while index < len(items) and items[index] != "--":
        use = _use(items, index, table)
        if use is None:
            index += 1
        else:
            uses.append(use)
            index += use.span
    return tuple(uses)


def is_option(item: str) -> bool:
    """Whether argparse would take `item` for an option: not for a value, a negative number or a positional."""
    return _OPTION.match(item) is not None


def attached(item: str, syntax: FlagSyntax) -> str | None:
    """The one-letter flag that an item like `-O3` begins with, its value attached, or None."""
    head = item[1:].partition("=")[0]
    if not is_option(item) or item.startswith("--") or len(head) < 2 or "." in head:
        return None
    table = grammar(syntax)
    return item[1] if head not in table.short and item[1] in table.short else None


def _use(items: Sequence[str], index: int, table: Grammar) -> FlagUse | None:
    item = items[index]
    if not is_option(item):
        return None
    head, equals, value = item.partition("=")
    letter = attached(item, table.syntax)
    if letter is not None:
        return FlagUse(item, letter, table.short[letter].flag, _seen(item[2:].removeprefix("=")), index)
    long = head.startswith("--")
    name = table.normalise(head[2:]) if long else head[1:]
    spelling = table.long_name(name) if long else table.short_name(name)
    if equals:
        return FlagUse(item, name, spelling.flag, _seen(value), index)
    values = _values(items, index + 1, spelling.flag)
    text = " ".join((item, *values))
    span = 1 + len(values)
    if values:
        return FlagUse(text, name, spelling.flag, _seen(" ".join(values)), index, span)
    boolean = spelling.flag is not None and spelling.flag.boolean
    return FlagUse(text, name, spelling.flag, spelling.on if boolean else None, index, span)


def _values(items: Sequence[str], index: int, flag: FlagSpec | None) -> list[str]:
    """The items from `index` on that belong to a flag written just before them."""
    if index >= len(items) or items[index] == "--" or is_option(items[index]):
        return []
    if flag is None or not flag.boolean:
        last = index + 1
        while flag is not None and flag.several and last < len(items) and not _ends(items[last]):
            last += 1
        return list(items[index:last])
    # Older engines take "true" and "false" after a boolean; no engine takes either as a positional argument.
    return [items[index]] if items[index].lower() in ("true", "false") else []


def _ends(item: str) -> bool:
    return item == "--" or is_option(item)


def _seen(value: str) -> str:
    return value if references(value) else unescape(value)
