"""The life of the process: parse, load, serve, and end as vLLM ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from aiohttp import web

from tuner.core.errors import InvalidInput
from tuner.simulator.catalogue import MODELS
from tuner.standin import startup
from tuner.standin.api import Service
from tuner.standin.arguments import Arguments, BadArguments, HelpAsked, parse
from tuner.standin.clock import precise_loop
from tuner.standin.console import SERVER, Console
from tuner.standin.engine import Engine
from tuner.standin.machine import Machine, StartFailed, build
from tuner.standin.options import SimOptions, split_options, usage

#: What a server takes to leave once its engine is dead, in seconds: its clients read their errors meanwhile.
_FAREWELL_S = 0.3
_BACKLOG = 4096


def serve(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Be a vLLM server with these arguments until a signal or a failure ends it; returns the exit code.

    `argv` is what would follow `vllm serve`, and the stand-in's own --sim options. `environ` (the process's own unless
    given) is read for TUNER_SIM_* and VLLM_API_KEY.
    """
    environ = os.environ if environ is None else environ
    console = Console(sys.stdout, sys.stderr, pid=os.getpid())
    if {"-h", "--help"} & set(argv):
        _print(sys.stdout, usage())
        return 0
    try:
        options, rest = split_options(argv, environ)
        arguments = parse(["--help"] if "--help=all" in rest else rest)
        if arguments.model_tag is None and not {"model", "config"} & arguments.given.keys() and options.model is None:
            raise InvalidInput(f"name a model: MODEL or --model; allowed: {', '.join(MODELS)}, or a config.json")
    except InvalidInput as error:
        console.complain("".join(f"engine-sim: {problem}\n" for problem in error.problems))
        return 2
    except BadArguments as error:
        console.complain(error.text)
        return 2
    except HelpAsked as asked:
        _print(sys.stdout, asked.text)
        return 0
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(_Process(arguments, options, environ, console).run())


def _print(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


@dataclass
class _Process:
    """One process, from flags to exit code."""

    arguments: Arguments
    options: SimOptions
    environ: Mapping[str, str]
    console: Console

    async def run(self) -> int:
        """Serve until told to stop (exit code 0), or until the engine fails."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        startup.announce(self.console, self.arguments)
        service = Service(
            self.arguments.served_names, self._api_keys(), self.arguments.given.get("max_num_queued_reqs")
        )
        runner = web.AppRunner(service.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await self._listen(runner)
            return await self._until(stop, self._live(service))
        except (OSError, OverflowError) as error:
            self.console.traceback(
                '  File "vllm/entrypoints/openai/api_server.py", line 1, in create_server_socket', str_of(error)
            )
            return 1
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self.arguments.given.get("host"), int(self.arguments.given.get("port", 8000))
        if not 0 <= port < 1 << 16:  # as Python's own sockets say it; the loop's would take another port
            raise OverflowError("bind(): port must be 0-65535.")
        await web.TCPSite(runner, host, port, backlog=_BACKLOG, reuse_address=True).start()

    async def _until(self, stop: asyncio.Event, living: object) -> int:
        """Whichever comes first: the end of `living`, or being told to stop."""
        life = asyncio.ensure_future(living)  # type: ignore[call-overload]
        told = asyncio.ensure_future(stop.wait())
        await asyncio.wait({life, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if life.done():
            return int(life.result())
        life.cancel()
        self.console.access("Shutting down")
        return 0

    async def _live(self, service: Service) -> int:
        try:
            machine = build(self.arguments, self.options, self._start_number())
        except StartFailed as failed:
            await asyncio.sleep(self._until_refused(failed))
            return startup.refuse(self.console, failed)
        code = await self._load(machine)
        if code is not None:
            return code
        engine = Engine(machine, self.console, time.monotonic)
        gc.freeze()  # what is loaded stays: looking through it again would hold up all streams by tens of milliseconds
        service.engine = engine
        self.console.info(SERVER, "api_server.py:2021", f"Starting vLLM server on {self._address()}")
        self.console.access("Application startup complete.")
        await engine.run()
        await asyncio.sleep(_FAREWELL_S)
        self.console.access("Application shutdown complete.")
        return 0

    async def _load(self, machine: Machine) -> int | None:
        """Take the time of a start. Returns an exit code where it fails, None once ready."""
        startup.configured(self.console, machine, self.arguments)
        seconds = machine.start_s
        await asyncio.sleep(0.4 * seconds)
        if self.options.fail == "never-ready":
            await asyncio.Event().wait()
        startup.loaded(self.console, machine, 0.4 * seconds)
        if self.options.fail == "oom-at-start":
            await asyncio.sleep(0.4 * seconds)
            text = (
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.20 GiB. GPU 0 has a total capacity of "
            )
            total = machine.memory.total_gib
            text += f"{total:.2f} GiB of which 0.42 GiB is free."
            return startup.core_failed(self.console, text, "initialize_from_config", "capture_model")
        if self.options.fail == "crash-at-start":
            return startup.core_failed(
                self.console, "RuntimeError: the stand-in was told to fail (crash-at-start)", "__init__"
            )
        await asyncio.sleep(0.6 * seconds)
        startup.ready(self.console, machine, seconds)
        return None

    def _until_refused(self, failed: StartFailed) -> float:
        """Flags are read at once; memory is known after loading."""
        if not failed.loaded:
            return 0.0
        seconds = self.options.start_s
        return 0.7 * (seconds if seconds is not None else 30.0 / self.options.speed)

    def _start_number(self) -> int:
        return time.time_ns() if self.options.start is None else self.options.start

    def _api_keys(self) -> tuple[str, ...]:
        given = tuple(self.arguments.given.get("api_key") or ())
        key = self.environ.get("VLLM_API_KEY")
        return given or ((key,) if key else ())

    def _address(self) -> str:
        return f"http://{self.arguments.given.get('host') or '0.0.0.0'}:{self.arguments.given.get('port', 8000)}"


def str_of(error: OSError | OverflowError) -> str:
    """As Python prints it: `OSError: [Errno 98] Address already in use`."""
    if isinstance(error, OSError) and error.errno:
        return f"OSError: [Errno {error.errno}] {os.strerror(error.errno)}"
    return f"{type(error).__name__}: {error}"
