"""Deployments whose engine is tests/support/vllm: starts in a tenth of a second, fails in vLLM's words."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

Object = dict[str, Any]
SCRIPT = Path(__file__).parent / "vllm"


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def engine(name: str = "llm", *, port: int | None = None, gpus: int = 1, args: tuple[str, ...] = ()) -> Object:
    """A Deployment as a user would write it; on the in-process cluster its command is the script itself."""
    port = port or free_port()
    container = {
        "name": "engine",
        "image": "python:3.11",
        "command": [str(SCRIPT), "serve", "/models/tiny"],
        "args": ["--max-num-seqs=64", "--port", str(port), *args],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus), "memory": "200Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": port}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
            },
        },
    }
