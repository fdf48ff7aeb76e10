"""The probe's side of a load process: start it, talk to it, notice when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import tuner
from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.probe.client.wire import Message, pack, receive

_EXIT_S = 3.0
_STDERR_KEPT = 4000


class LoadProcess:
    """One running load process. It ends by `close`, or by itself when this process is gone."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr = b""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls) -> LoadProcess:
        """Start a process that waits for volleys."""
        package_root = str(Path(tuner.__file__).parent.parent)
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # whatever lies in the working directory is not to be imported
            "-m",
            "tuner.probe.client.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def send(self, message: Message) -> None:
        """Send one message; raises TrialFailed (probe-error) where the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pack(message))
            await self._process.stdin.drain()
        except ConnectionError:
            raise await self._died() from None

    async def receive(self) -> Message:
        """The next message; raises TrialFailed (probe-error) where the process is gone."""
        assert self._process.stdout is not None
        message = await receive(self._process.stdout)
        if message is None:
            raise await self._died()
        return message

    async def close(self) -> None:
        """End the process: by its closed input, and by force where that does not do."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.wait_closed()
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listening

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(65536):
            self._stderr = (self._stderr + chunk)[-_STDERR_KEPT:]

    async def _died(self) -> TrialFailed:
        code = await self._process.wait()
        await self._listening
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return TrialFailed(
            Failure(
                Cause.PROBE_ERROR,
                f"the probe's load process ended {how} while it measured",
                self._stderr.decode("utf-8", "replace"),
            )
        )
