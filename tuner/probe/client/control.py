"""The probe's view of a server beside the load: its metrics, its health, and whether it is idle again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import httpx

from tuner.probe.client.tls import trust

Counters = Callable[[str], Mapping[str, float]]

# TensorRT-LLM has iteration statistics in JSON at the first one.
_PATHS = ("/metrics", "/prometheus/metrics")
_TIMEOUT_S = 5.0
_DRAIN_POLL_S = 0.1
_READS = 3


def http_client(headers: Mapping[str, str], timeout_s: float, base_url: str = "") -> httpx.AsyncClient:
    """For what is no load: it trusts whom the load's connections trust, and no proxy of the environment."""
    return httpx.AsyncClient(
        base_url=base_url, headers=dict(headers), timeout=timeout_s, trust_env=False, verify=trust()
    )


class Control:
    """Small requests to one server; no proxies, no retries of its own."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], counters: Counters) -> None:
        self._client = http_client(headers, _TIMEOUT_S, endpoint)
        self._counters = counters
        self._path: str | None = None  # where counters were seen

    @property
    def client(self) -> httpx.AsyncClient:
        """The HTTP client, for requests whose time does not matter."""
        return self._client

    async def counters(self) -> Mapping[str, float]:
        """The engine's counters now; empty where the server shows none, or gives no answer to several requests."""
        for path in (self._path,) if self._path else _PATHS:
            found = await self._read(path)
            if found is None:
                return {}
            if found:
                self._path = path
                return found
        return {}

    async def look(self, timeout_s: float) -> Mapping[str, float]:
        """The counters by one quick look; empty where none were seen before, or no answer comes within `timeout_s`."""
        if self._path is None:
            return {}
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._client.get(self._path)
        except (httpx.HTTPError, TimeoutError):
            return {}
        return self._counters(response.text) if response.status_code == 200 else {}

    async def _read(self, path: str) -> Mapping[str, float] | None:
        """The counters at `path`; None where several requests got no answer."""
        for _ in range(_READS):
            try:
                response = await self._client.get(path)
            except httpx.HTTPError:
                await asyncio.sleep(_DRAIN_POLL_S)
                continue
            return self._counters(response.text) if response.status_code == 200 else {}
        return None

    async def dead(self) -> str | None:
        """Why the server can't be serving any more, or None while it may be.

        Dead is who refuses or breaks connections, twice, and an engine that says so itself (503 on /health). A server
        that is only slow is not dead.
        """
        first = await self._unhealthy()
        if first is None:
            return None
        await asyncio.sleep(0.2)
        return await self._unhealthy()

    async def _unhealthy(self) -> str | None:
        try:
            response = await self._client.get("/health")
        except httpx.TimeoutException:
            return None
        except httpx.TransportError as error:
            return f"GET /health: {type(error).__name__} {error}".strip()
        return f"GET /health: {response.status_code} {response.text[:200]}" if response.status_code == 503 else None

    async def drained(self, timeout_s: float) -> Mapping[str, float]:
        """Wait until nothing runs or waits (at most `timeout_s`); the last counters seen."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        seen = await self.counters()
        while seen.get("running", 0) + seen.get("waiting", 0) > 0 and loop.time() < deadline:
            await asyncio.sleep(_DRAIN_POLL_S)
            seen = await self.counters()
        return seen

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()
