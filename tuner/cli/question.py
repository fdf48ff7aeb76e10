"""Asks the user before something is changed."""

from __future__ import annotations

import signal
import sys

from tuner.core.errors import Interrupted, InvalidInput, TunerError


def ask(question: str) -> None:
    """Return after a yes. Raises TunerError after anything else, InvalidInput where nobody can answer.

    An event loop would only take note of Ctrl-C while it waits for a line, so the signal's own handler comes back.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidInput("nobody is here to answer; --yes says that this is what you want")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(f"{question} [y/N]: ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        raise Interrupted(signal.SIGINT, "nothing was changed") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if answer.strip().lower() not in ("y", "yes"):
        raise TunerError("nothing was changed")
