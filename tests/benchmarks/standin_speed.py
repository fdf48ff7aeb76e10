"""What the stand-in serves on one core, and how much in time: `python -m tests.benchmarks.standin_speed`.

Flat out, steps take as good as no time, so that serving is all there is; at a pace, all streams get a token at each
tick of the engine, and a token's error is how long after its tick it was handed to its socket. Streams are read by a
process of its own that does no more than collect bytes. A minute; two cores, on which nothing else should run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.benchmarks.ground import publish
from tests.integration.standin.server import Server

_FLAT_OUT_S = 1e-6
_END = b"0\r\n\r\n"
_STAMPS = re.compile(rb'"produced_ns":(\d+),"sent_ns":(\d+)')


@dataclass(frozen=True)
class Case:
    """So many streams of so many tokens, one every `step_s` seconds; None: as fast as it can."""

    streams: int
    tokens: int
    step_s: float | None = None

    @property
    def name(self) -> str:
        """As the table has it."""
        pace = "flat out" if self.step_s is None else f"a token every {self.step_s * 1e3:g} ms"
        return f"{self.streams} streams, {pace}"


CASES = (Case(64, 2000), Case(512, 400), Case(64, 400, 0.010), Case(512, 400, 0.016))
QUICK = (Case(8, 200), Case(8, 50, 0.010))


@dataclass(frozen=True)
class Found:
    """`wall_s` from the first request to the last byte, and the milliseconds by which tokens were late (if asked)."""

    wall_s: float
    late_ms: tuple[float, ...]


class _Reader(asyncio.Protocol):
    """Sends one request and collects what comes."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.parts: list[bytes] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        if data.endswith(_END):
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("closed by the server"))


def read(port: int, case: Case) -> Found:
    """Read all streams of a case at once. Raises RuntimeError where an event does not have one token."""
    bodies, wall_s = asyncio.run(_bodies(port, case))
    if any(body.count(b'data: {"') != case.tokens for body in bodies):
        raise RuntimeError(f"{case.name}: not one event for each token; the reader is too slow, or a request failed")
    if case.step_s is None:
        return Found(wall_s, ())
    return Found(wall_s, tuple(_late_ms(bodies, case.step_s).tolist()))


async def _bodies(port: int, case: Case) -> tuple[list[bytes], float]:
    loop = asyncio.get_running_loop()
    body = json.dumps({"prompt": [1, 2, 3], "max_tokens": case.tokens, "ignore_eos": True, "stream": True})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    request = (head + body).encode()
    began = time.perf_counter()
    made = [await loop.create_connection(lambda: _Reader(request), "127.0.0.1", port) for _ in range(case.streams)]
    await asyncio.gather(*(reader.ended for _, reader in made))
    wall_s = time.perf_counter() - began
    for transport, _ in made:
        transport.close()
    return [b"".join(reader.parts) for _, reader in made], wall_s


def _late_ms(bodies: Sequence[bytes], step_s: float) -> npt.NDArray[np.float64]:
    """By how much tokens were late once all streams were under way.

    Ticks are `step_s` apart, and placed by the step that was the earliest for its number: no step ends before its tick.
    """
    stamps = [np.array(_STAMPS.findall(body), dtype=np.int64) for body in bodies]
    under_way = max(stream[0, 1] for stream in stamps)
    late = []
    for produced, sent in (stream[stream[:, 0] > under_way].T for stream in stamps):
        since_first = np.arange(len(produced)) * step_s * 1e9
        late.append((sent - since_first - (produced - since_first).min(initial=np.inf)) / 1e6)
    return np.concatenate(late)


def row(case: Case, reader: ProcessPoolExecutor) -> tuple[str, ...]:
    """Serve one case."""
    stamps = () if case.step_s is None else ("--sim-stamps",)
    flags = ("--max-num-seqs=512", "--max-model-len=4096", f"--sim-step-seconds={case.step_s or _FLAT_OUT_S}")
    with Server((*flags, *stamps)) as server:
        server.wait_ready()
        reader.submit(read, server.port, Case(case.streams, 20)).result()
        before = server.cpu_s
        found = reader.submit(read, server.port, case).result()
        cpu_s = server.cpu_s - before
    tokens = case.streams * case.tokens
    late = [f"{np.percentile(found.late_ms, q):.2f}" for q in (50, 99)] if found.late_ms else ["", ""]
    return (
        case.name,
        f"{tokens / found.wall_s:,.0f}",
        f"{tokens / cpu_s:,.0f}",
        f"{cpu_s / tokens * 1e6:.1f}",
        *late,
    )


HEADER = ("case", "tokens/s", "tokens/s per core", "CPU us per token", "late by ms, p50", "p99")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--quick", action="store_true", help="8 streams for a moment")
    options = parser.parse_args(arguments)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as reader:
        rows = [row(case, reader) for case in (QUICK if options.quick else CASES)]
    publish("stand-in speed", "What the stand-in serves on one core", HEADER, rows, write=options.write)


if __name__ == "__main__":
    main()
