"""How the engine of a pod is reached: at the pod's own IP, or at an endpoint that leads to it."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer
from tuner.targets.kubernetes.serving import Serving


@dataclass(frozen=True)
class Route:
    """`endpoint` is a base URL without a trailing slash that is used instead of the pod's IP and `port`."""

    port: int
    endpoint: str | None = None
    api_key: str | None = None

    def base(self, ip: str) -> str:
        """The engine's base URL where its pod has this IP."""
        if self.endpoint is not None:
            return self.endpoint
        host = f"[{ip}]" if ":" in ip else ip
        return f"http://{host}:{self.port}"

    def serving(self, ip: str) -> Serving:
        """HTTP to the engine; the caller closes it."""
        return Serving(self.base(ip), self.api_key)


def port_of(engine: Engine, container: EngineContainer) -> int:
    """Where the engine listens. Raises InvalidInput where its flag can't be read."""
    if "port" in container.referenced and container.ports:
        return container.ports[0]  # --port=$(PORT)
    return engine.port(container.readable)
