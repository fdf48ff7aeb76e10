"""The stand-in's log: lines as vLLM prints them, on stdout, each at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TextIO

SERVER, CORE = "APIServer", "EngineCore"


class Console:
    """Prints to `out` as vLLM's processes do. `now` gives seconds since the epoch."""

    def __init__(self, out: TextIO, err: TextIO, now: Callable[[], float] = time.time, pid: int = 1) -> None:
        self._out, self._err, self._now = out, err, now
        self._pids = {SERVER: pid, CORE: pid + 60}

    def info(self, who: str, where: str, text: str) -> None:
        """One INFO line."""
        self._line(who, "INFO", where, text)

    def error(self, who: str, where: str, lines: Iterable[str]) -> None:
        """ERROR lines: vLLM prefixes every line of a traceback."""
        for line in lines:
            self._line(who, "ERROR", where, line)

    def access(self, text: str) -> None:
        """A line of the HTTP server, which has no time stamp."""
        self._write(self._out, f"({SERVER} pid={self._pids[SERVER]}) INFO:     {text}")

    def traceback(self, *lines: str) -> None:
        """A traceback of the API server's process: on stderr, with its prefix only."""
        for line in ("Traceback (most recent call last):", *lines):
            self._write(self._err, f"({SERVER} pid={self._pids[SERVER]}) {line}")

    def complain(self, text: str) -> None:
        """Text on stderr as it is."""
        self._err.write(text)
        self._err.flush()

    def _line(self, who: str, level: str, where: str, text: str) -> None:
        stamp = time.strftime("%m-%d %H:%M:%S", time.localtime(self._now()))
        self._write(self._out, f"({who} pid={self._pids[who]}) {level} {stamp} [{where}] {text}")

    @staticmethod
    def _write(stream: TextIO, line: str) -> None:
        stream.write(line + "\n")
        stream.flush()
