"""How a container starts its engine: which words of a command line come before the engine's own arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh"})
# Programs that start another one: (options that take a value as the next item).
_WRAPPERS: dict[str, frozenset[str]] = {
    "env": frozenset({"-u", "-C", "--unset", "--chdir"}),
    "exec": frozenset(),
    "tini": frozenset({"-p", "-e"}),
    "tini-static": frozenset({"-p", "-e"}),
    "dumb-init": frozenset({"-r", "--rewrite"}),
    "catatonit": frozenset(),
    "numactl": frozenset({"-N", "-m", "-C", "-i", "-p"}),
    "taskset": frozenset(),
    "nice": frozenset({"-n"}),
    "stdbuf": frozenset({"-i", "-o", "-e"}),
}
_PYTHON = re.compile(r"(python|pypy)[\d.]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True)
class Launch:
    """The words before the engine's arguments: `program` runs, and its arguments begin at `start` in the list.

    `program` is "" where the image's own entrypoint decides; `module` is what `python -m` names, `script` the file
    that an interpreter or a shell runs.
    """

    program: str
    start: int
    module: str = ""
    script: str = ""
    inline: str | None = None  # the text after `sh -c` or `python -c`


def basename(program: str) -> str:
    """The last part of a program's path."""
    return PurePosixPath(program).name


def command_line(container: Mapping[str, Any]) -> list[str]:
    """The container's command and args as one list."""
    return [*(container.get("command") or []), *(container.get("args") or [])]


def launch(argv: Sequence[str]) -> Launch:
    """Split a command line into what starts the engine and the engine's arguments."""
    index = _past_wrappers(argv)
    if index >= len(argv) or argv[index].startswith("-"):
        return Launch("", index)
    program = basename(argv[index])
    if program in SHELLS:
        return _interpreted(argv, index, program, takes_value=frozenset({"-o", "-O"}))
    if _PYTHON.fullmatch(program):
        return _interpreted(argv, index, program, takes_value=frozenset({"-W", "-X"}))
    return Launch(program, index + 1)


def _past_wrappers(argv: Sequence[str]) -> int:
    index = 0
    while index < len(argv) and basename(argv[index]) in _WRAPPERS:
        name = basename(argv[index])
        takes_value = _WRAPPERS[name]
        index += 1
        while index < len(argv) and (argv[index].startswith("-") or _ASSIGNMENT.match(argv[index])):
            ended = argv[index] == "--"
            index += 2 if argv[index] in takes_value else 1
            if ended:
                break
        if name == "taskset":
            index += 1  # its CPU mask or list
    return min(index, len(argv))


def _interpreted(argv: Sequence[str], index: int, program: str, takes_value: frozenset[str]) -> Launch:
    """A shell or Python: its options, then `-c TEXT`, `-m MODULE` or a script."""
    shell = program in SHELLS
    index += 1
    while index < len(argv) and argv[index].startswith("-") and argv[index] != "--":
        option = argv[index]
        following = argv[index + 1] if index + 1 < len(argv) else ""
        if not option.startswith("--"):
            if not shell and option.endswith("m"):
                return Launch(program, min(index + 2, len(argv)), module=following)
            if "c" in option:
                return _inline(argv, index + 1, program)
        index += 2 if option in takes_value else 1
    if index >= len(argv):
        return Launch(program, index)
    return Launch(program, index + 1, script=argv[index])


def _inline(argv: Sequence[str], index: int, program: str) -> Launch:
    """`sh -c -- TEXT` and `sh -c -e TEXT` are both legal: TEXT is the first item that is no option."""
    while index < len(argv) and argv[index].startswith("-") and " " not in argv[index]:
        index += 1
    text = argv[index] if index < len(argv) else ""
    return Launch(program, min(index + 1, len(argv)), inline=text)
