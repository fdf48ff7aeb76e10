"""A panel that is drawn anew while work goes on."""

from __future__ import annotations

import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live

_LOCAL = 3  # where termios keeps the flags of echoing and signals


class LivePanel(ABC):
    """Shows its panel in a terminal while it is entered, and takes it away again; elsewhere it shows none.

    A terminal that hung up stops nothing: what can't be shown there is not shown.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=True) if quiet else console
        self._began = time.monotonic()
        self._screen = ExitStack()

    @abstractmethod
    def _panel(self) -> RenderableType:
        """What is shown now."""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._screen.enter_context(_silent_keys(self._console))
            live = Live(console=self._console, get_renderable=self._panel, refresh_per_second=4, transient=True)
            live.start()
            self._screen.callback(_stop, live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.close()


def _stop(live: Live) -> None:
    with suppress(OSError):
        live.stop()


@contextmanager
def _silent_keys(console: Console) -> Iterator[None]:
    """The terminal without the ^C that it shows for Ctrl-C: it would shift the panel, and leave a line of it behind."""
    try:
        screen = console.file.fileno()
        before = termios.tcgetattr(screen)
    except (OSError, termios.error):  # not a terminal of the system's
        yield
        return
    during = [*before]
    # Nor may Ctrl-C throw away what is on its way to the screen.
    during[_LOCAL] = before[_LOCAL] & ~termios.ECHOCTL | termios.NOFLSH
    try:
        with suppress(termios.error):
            termios.tcsetattr(screen, termios.TCSANOW, during)
        yield
    finally:
        with suppress(termios.error):  # it hung up
            termios.tcsetattr(screen, termios.TCSANOW, before)
