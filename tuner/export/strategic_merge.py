"""A strategic merge patch: the lists that change, and nothing else."""

from __future__ import annotations

from typing import Any

from tuner.export.document import dump
from tuner.export.result import Result

_SECRET = (
    "Kubernetes replaces such a list as a whole, so all of it is here, and one of its items looks like a secret: "
    "guard this file like the Deployment."
)


def strategic_merge(result: Result) -> str:
    """The patch as YAML for `kubectl patch --patch-file`. Containers are merged by name, their lists replaced whole."""
    usage = [
        f"Apply it with: kubectl patch deployment {result.deployment} -n {result.namespace} --patch-file FILE",
        *guard(result),
    ]
    return result.header(*usage) + dump(patch(result))


def guard(result: Result) -> list[str]:
    """What a file's header says where the file holds a secret."""
    return [_SECRET] if result.secrets() else []


def patch(result: Result) -> dict[str, Any]:
    """The patch itself; {} where nothing changes."""
    container: dict[str, Any] = {name: list(items) for name, items in result.changed.items()}
    if result.resources:
        container["resources"] = {kind: dict(values) for kind, values in result.resources.items()}
    if not container:
        return {}
    return {"spec": {"template": {"spec": {"containers": [{"name": result.container, **container}]}}}}
