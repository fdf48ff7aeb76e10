"""Two clients that only read bytes and count tokens: `python -m tests.benchmarks.clients.floors bare|httpx JOB`.

`bare` is a protocol on uvloop, `httpx` a stream of httpx on asyncio's own loop. No client on their stacks that also
understands what it reads can cost less.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

import httpx as library
import uvloop

from tests.benchmarks.clients.job import PATH, Job, Told, write

# Of the JSON of a chunk that carries a token, and of nothing else in the stream.
_TOKEN = b'"text":'
_END = b"0\r\n\r\n"
Seen = list[tuple[float, int]]
Fetch = Callable[[str], Awaitable[tuple[float, Seen]]]


class Counting(asyncio.Protocol):
    """Sends one request; notes when how many tokens arrived."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.seen: Seen = []
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        # Not an asyncio.WriteTransport by descent: it is uvloop's.
        cast(asyncio.WriteTransport, transport).write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.seen.append((time.monotonic(), data.count(_TOKEN)))
        if data.endswith(_END):
            self.over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The stub never ends a connection first."""
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError("closed before the end"))


async def bare(job: Job) -> list[Told]:
    """All requests by bare protocols, each on a connection of its own."""
    loop = asyncio.get_running_loop()
    address = urlsplit(job.endpoint)

    async def fetch(prompt: str) -> tuple[float, Seen]:
        body = json.dumps(job.body(prompt)).encode()
        head = f"POST {PATH} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        start_s = time.monotonic()
        transport, counting = await loop.create_connection(
            lambda: Counting(head.encode() + body), address.hostname, address.port
        )
        await counting.over
        transport.close()
        return start_s, counting.seen

    return await _all(job, fetch)


async def httpx(job: Job) -> list[Told]:
    """All requests by httpx, its connections pooled without a limit."""
    limits = library.Limits(max_connections=None, max_keepalive_connections=None)
    async with library.AsyncClient(base_url=job.endpoint, limits=limits, timeout=None, trust_env=False) as client:

        async def fetch(prompt: str) -> tuple[float, Seen]:
            seen: Seen = []
            start_s = time.monotonic()
            async with client.stream("POST", PATH, json=job.body(prompt)) as response:
                async for data in response.aiter_bytes():
                    seen.append((time.monotonic(), data.count(_TOKEN)))
            return start_s, seen

        return await _all(job, fetch)


async def _all(job: Job, fetch: Fetch) -> list[Told]:
    begin_s = time.monotonic()

    async def one(index: int, prompt: str) -> Told:
        await asyncio.sleep(begin_s + job.start_s(index) - time.monotonic())
        start_s, seen = await fetch(prompt)
        return Told(f"r{index}", start_s, tuple(when for when, tokens in seen for _ in range(tokens)))

    return await asyncio.gather(*(one(index, prompt) for index, prompt in enumerate(job.prompts())))


def main() -> None:
    """Do the job."""
    which, text = sys.argv[1:]
    job = Job.load(text)
    runner, client = (uvloop.run, bare) if which == "bare" else (asyncio.run, httpx)
    began_s = time.process_time()  # after the imports
    told = runner(client(job))
    print(json.dumps({"client": time.process_time() - began_s}))
    write(job.report, told)


if __name__ == "__main__":
    main()
