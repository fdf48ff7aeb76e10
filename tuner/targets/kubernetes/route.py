"""How the engine of a pod is reached: at the pod's own IP, or at an endpoint that leads to it."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.core.errors import Refused
from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer
from tuner.targets.kubernetes.serving import Health, Serving


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


def no_route(base: str, health: Health) -> Refused:
    """What to raise where a pod is ready and its engine can't be reached."""
    return Refused(
        f"the pod is ready, but there is no route from here to {base} (/health: {health.problem}): "
        "run the tuner inside the cluster, or give a URL that leads to the engine with --endpoint"
    )


def port_of(engine: Engine, container: EngineContainer) -> int:
    """Where the engine listens. Raises InvalidInput where its flag can't be read."""
    if "port" in container.referenced and container.ports:
        return container.ports[0]  # --port=$(PORT)
    return engine.port(container.readable)
