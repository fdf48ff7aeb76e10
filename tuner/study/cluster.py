"""How the cluster of a study is reached once the study is over, and the engine in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuner.targets.kubernetes.client import Client


@dataclass(frozen=True)
class Cluster:
    """Kubeconfig and context as kubectl has them (None: its own, or the pod's account inside a cluster).

    `endpoint` is a base URL that leads to the engine where its pod's IP can't be reached, `api_key` the engine's key.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    endpoint: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Calls to the cluster, closed in the end. Raises InvalidInput and Unreachable as `Client.connect` does."""
        client = await Client.connect(self.kubeconfig, self.context)
        try:
            yield client
        finally:
            await client.close()
