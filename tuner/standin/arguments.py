"""vLLM's command line, parsed by argparse as vLLM parses it: the same liberties and the same complaints."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tuner.core.knob import Value
from tuner.engines.vllm.options import Option, options, parse_size

_DOTTED = re.compile(r"--?([\w-]+)\.([\w.-]+?)(\+?)(?:=(.*))?", re.DOTALL)


class BadArguments(Exception):
    """What argparse would print before it exits with code 2: `text` goes to stderr."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class HelpAsked(Exception):
    """--help: the text goes to stdout, and the process ends well."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


@dataclass(frozen=True)
class Arguments:
    """A parsed command line. `given` are the options set on it, by vLLM's names; JSON ones are parsed."""

    given: dict[str, Any] = field(default_factory=dict)
    model_tag: str | None = None

    @property
    def model(self) -> str:
        """The model to serve: the positional one, else --model, else vLLM's default."""
        return self.model_tag or str(self.given.get("model", "Qwen/Qwen3-0.6B"))

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that clients may call the model by."""
        return tuple(self.given.get("served_model_name") or (self.model,))

    def values(self) -> dict[str, Value]:
        """The options that decide how the engine runs, speculation as its two knobs."""
        found: dict[str, Value] = {
            name: value for name, value in self.given.items() if isinstance(value, (bool, int, float, str))
        }
        config = dict(self.given.get("speculative_config") or {})
        for name, key in (
            ("spec_method", "method"),
            ("spec_tokens", "num_speculative_tokens"),
            ("spec_model", "model"),
        ):
            if name in found:
                config[key] = found.pop(name)
        if config:
            found["speculative_method"] = str(config.get("method") or ("draft_model" if config.get("model") else ""))
            if "num_speculative_tokens" in config:
                found["num_speculative_tokens"] = config["num_speculative_tokens"]
        return found


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"usage: {self.prog} [model_tag] [options]\n{self.prog}: error: {message}\n")

    def print_help(self, file: Any = None) -> None:  # noqa: ARG002 - argparse's signature
        raise HelpAsked(self.format_help())


def parse(argv: Sequence[str]) -> Arguments:
    """Parse what follows `vllm serve`. Raises BadArguments, HelpAsked."""
    items = list(argv[1:] if argv[:1] == ["serve"] else argv)
    model_tag = items.pop(0) if items and not items[0].startswith("-") else None
    items, nested = _merge_dotted([_hyphens(item) for item in items])
    found, extra = _parser().parse_known_args(items)
    if model_tag is None and len(extra) == 1 and not extra[0].startswith("-"):
        model_tag = extra.pop()
    if extra:
        # Unknown arguments are left to the parser above `serve`, whose name is plain "vllm".
        raise BadArguments(
            f"usage: vllm [-h] [-v] {{serve,...}} ...\nvllm: error: unrecognized arguments: {' '.join(extra)}\n"
        )
    given = {name: value for name, value in vars(found).items() if value is not None}
    for name, keys in nested.items():
        given[name] = {**(given.get(name) or {}), **keys}
    return Arguments(given, model_tag)


def _hyphens(item: str) -> str:
    """--max_num_seqs=8 is --max-num-seqs=8: up to the first dot, and never in the value."""
    if not item.startswith("--"):
        return re.sub(r"^-O(\d)$", r"--optimization-level=\1", item)
    head, equals, value = item.partition("=")
    base, dot, rest = head.partition(".")
    return base.replace("_", "-") + dot + rest + equals + value


def _merge_dotted(items: list[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Take --speculative-config.method=ngram and its like out of the list."""
    kept: list[str] = []
    nested: dict[str, dict[str, Any]] = {}
    index = 0
    while index < len(items):
        match = _DOTTED.fullmatch(items[index])
        option = _json_option(match[1]) if match else None
        index += 1
        if match is None or option is None:
            kept.append(items[index - 1])
            continue
        text = match[4]
        if text is None and index < len(items):
            text = items[index]
            index += 1
        _put(nested.setdefault(option.dest, {}), match[2].split("."), text or "")
    return kept, nested


def _json_option(name: str) -> Option | None:
    option = options().find(name)
    if option is None:
        option = next((entry for entry in options().options if name in entry.short), None)
    return option if option is not None and option.type == "json" else None


def _put(target: dict[str, Any], path: list[str], text: str) -> None:
    for key in path[:-1]:
        target = target.setdefault(key, {})
    try:
        target[path[-1]] = json.loads(text)
    except ValueError:
        target[path[-1]] = text


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vllm serve", description="A simulated vLLM: the flags, answers and failures of the real one."
    )
    for option in options().options:
        _add(parser, option)
    return parser


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    names = [f"--{name}" for name in (option.name, *option.aliases)] + [f"-{name}" for name in option.short]
    if option.type == "bool":
        parser.add_argument(*names, action=argparse.BooleanOptionalAction, dest=option.dest, default=None)
    elif option.type == "switch":
        parser.add_argument(*names, action="store_true", dest=option.dest, default=None)
    elif option.repeats:
        parser.add_argument(*names, action="append", dest=option.dest, default=None)
    else:
        nargs = "+" if option.many else None
        choices = option.choices or None
        parser.add_argument(*names, type=_TYPES[option.type], nargs=nargs, choices=choices, dest=option.dest)


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"Value {text} cannot be converted to {json.loads}.") from None


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid human_readable_int value: {text!r}") from None


def _size_or_auto(text: str) -> int | str:
    return "auto" if text in ("auto", "-1") else _size(text)


_TYPES: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "size": _size,
    "size-or-auto": _size_or_auto,
    "json": _loads,
    "str": str,
}
