"""Runs the stand-in as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

import httpx

READY_S = 30.0


@dataclass
class Server:
    """`python -m tuner.standin MODEL ARGS`, with its output kept. Use as a context manager."""

    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    model: str = "meta-llama/Llama-3.1-8B-Instruct"

    def __enter__(self) -> Server:
        self.port = free_port()
        command = [
            sys.executable,
            "-m",
            "tuner.standin",
            self.model,
            f"--port={self.port}",
            "--host=127.0.0.1",
            *self.args,
        ]
        settings = {"TUNER_SIM_START_SECONDS": "0.2", "TUNER_SIM_START": "1", **self.env}
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **settings},
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.http = httpx.Client(base_url=self.base, timeout=10.0, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def base(self) -> str:
        """The server's base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All output so far."""
        return "".join(self._lines)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the process so far (by Linux's clock of another process)."""
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def exit_code(self, within_s: float = 10.0) -> int:
        """Wait for the end."""
        code = self._process.wait(within_s)
        self._reader.join(10)
        return code

    def health(self) -> int:
        """The status of /health, 0 while nothing listens."""
        try:
            return self.http.get("/health").status_code
        except httpx.HTTPError:
            return 0

    def wait_ready(self) -> Server:
        """Return once /health is 200."""
        end = time.monotonic() + READY_S
        while self.health() != 200:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
