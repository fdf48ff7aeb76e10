"""The Deployment by its name, with the fields that change and no others: a file for `kubectl apply --server-side`.

Not the whole object: the values of its environment would stand in the file, and whoever applied it would own every
field, those that the API server filled in included. What changes is what a strategic merge patch changes; but a patch
is told what to patch, and writes over whoever set the flags, while a manifest names its object, can lie in a repository
beside others, and makes the API server tell of an owner who would set the flags back.
"""

from __future__ import annotations

from typing import Any

from tuner.core.errors import InvalidInput
from tuner.export.document import dump
from tuner.export.result import Result
from tuner.export.strategic_merge import guard, patch


def manifest(result: Result) -> str:
    """The manifest as YAML. Raises InvalidInput for a result that was not looked up on its Deployment."""
    usage = [
        "Apply it with: kubectl apply --server-side --field-manager=tuner --force-conflicts -f FILE",
        "(--force-conflicts takes the flags over; without it the API server names who owns them.)",
        *guard(result),
    ]
    return result.header(*usage) + dump(content(result))


def content(result: Result) -> dict[str, Any]:
    """The object itself. The selector changes nothing: without it no schema takes a Deployment."""
    if not result.selector:
        raise InvalidInput("a manifest is only written for a Deployment that is there; use -o flags")
    changes = patch(result).get("spec") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": result.deployment, "namespace": result.namespace},
        "spec": {"selector": dict(result.selector), **changes},
    }
