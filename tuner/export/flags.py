"""The flags alone, as text for a command line."""

from __future__ import annotations

import shlex

from tuner.export.result import Result


def flags(result: Result) -> str:
    """One line of flags, quoted for a POSIX shell, under comments that name the flags to take away."""
    words = [f"{name}={value}" if value is not None else name for name, value in result.spelled()]
    line = shlex.join(words)
    return result.header() + (f"{line}\n" if line else "")
