"""Errors that a user can do something about."""

from __future__ import annotations


class TunerError(Exception):
    """Something the user can act on. The command line prints it without a traceback and exits with `exit_code`."""

    exit_code = 1


class InvalidInput(TunerError):
    """Input that is refused before anything has happened; several mistakes are told together.

    Each problem is one line that names where it is, the value found and what is allowed.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Refused(TunerError):
    """The target is fine as it is but can't be changed safely; the message gives the reason and the way round."""

    exit_code = 3


class NotRestored(TunerError):
    """The target could not be put back; the message says what to do next."""

    exit_code = 4


class Interrupted(TunerError):
    """A signal stopped the run after the target was put back. The exit code is the shell's: 128 + the signal."""

    def __init__(self, signal_number: int, message: str) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(message)
