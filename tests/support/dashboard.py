"""The dashboard as a process."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from tests.support.command_line import command


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that runs: its address, its process, and the file of what it complains of."""

    url: str
    process: subprocess.Popen[str]
    _complaints: IO[str]

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    @property
    def complaints(self) -> str:
        """What it has complained of so far."""
        self._complaints.seek(0)
        return self._complaints.read()


@contextmanager
def serving(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[Dashboard]:
    """`tuner dashboard` with these arguments, at a free port."""
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command("dashboard", "--port", "0", *arguments),
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            found = re.search(r"http://\S+(?=/)", said)
            served = Dashboard(found[0] if found else "", process, complaints)
            assert found, said + served.complaints
            yield served
        finally:
            process.terminate()
            process.wait(timeout=20)
            process.stdout.close()
