"""Prints tuner/engines/vllm/options.json anew, from the vLLM of the Python that runs it (`make engine-options`).

That Python has vLLM and not tuner, so nothing of tuner is imported here. The types are those of
tuner.engines.vllm.options.Option.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: By the name of the function that reads an argument's text.
_TYPES = {
    "int": "int",
    "float": "float",
    "human_readable_int": "size",
    "human_readable_int_or_auto": "size-or-auto",
    "loads": "json",
    "parse_dataclass": "json",
}
#: vLLM takes -O3 for --optimization-level=3 before its parser sees it.
_SHORT = {"optimization-level": ["O"]}


def rows(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    """The options of a parser in the order of its help, and of each what is not the default."""
    for group in parser._action_groups:
        for action in group._group_actions:
            if any(name.startswith("--") for name in action.option_strings) and action.dest != "help":
                yield _row(action, "" if group is parser._optionals else group.title or "")


def document(version: str, options: Iterable[dict[str, Any]]) -> str:
    """The file: one option a line, so that two versions can be compared."""
    source = f"the argument parser of `vllm serve` {version} (what `vllm serve --help=all` prints), one option a line"
    head = {"engine": "vllm", "version": version, "source": source}
    lines = "".join(f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
    listed = ",\n".join(f"  {json.dumps(option)}" for option in options)
    return f'{{\n{lines} "options": [\n{listed}\n ]\n}}\n'


def _row(action: argparse.Action, group: str) -> dict[str, Any]:
    name, *aliases = (one.removeprefix("--") for one in action.option_strings if one.startswith("--"))
    has_negation = isinstance(action, argparse.BooleanOptionalAction)
    said: Mapping[str, Any] = {
        "aliases": [alias for alias in aliases if not (has_negation and alias.startswith("no-"))],
        "short": [one[1:] for one in action.option_strings if not one.startswith("--")] or _SHORT.get(name),
        "choices": [str(choice) for choice in action.choices or () if choice is not None],
        "many": action.nargs == "+",
        "repeats": isinstance(action, argparse._AppendAction),
        "group": group,
    }
    return {"name": name, "type": _type(action), **{key: value for key, value in said.items() if value}}


def _type(action: argparse.Action) -> str:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool"
    if action.nargs == 0:
        return "switch"
    name = getattr(_innermost(action.type), "__name__", "str")
    if name == "union_dict_and_str":  # text is taken where it can be the default, too
        return "str" if isinstance(action.default, str) else "json"
    return _TYPES.get(name, "str")


def _innermost(read: Any) -> Any:
    """The function that optional_type(...) and parse_type(...) were called with."""
    while inspect.isfunction(read) and "return_type" in (held := inspect.getclosurevars(read).nonlocals):
        read = held["return_type"]
    return read


if __name__ == "__main__":
    import vllm
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    serve = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    print(document(vllm.__version__, rows(serve)), end="")
