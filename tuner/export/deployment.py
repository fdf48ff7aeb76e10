"""The whole Deployment with the result in it, ready for `kubectl apply`."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from tuner.core.errors import InvalidInput, Refused
from tuner.engines import engine_named
from tuner.export.document import dump
from tuner.export.result import Result

_SERVER_METADATA = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
)
_SERVER_ANNOTATIONS = re.compile(
    r"deployment\.kubernetes\.io/.*|kubectl\.kubernetes\.io/last-applied-configuration|tuner\.dev/.*"
)
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(API|ACCESS|PRIVATE|AUTH)_?KEY", re.IGNORECASE)


def deployment(result: Result) -> str:
    """The Deployment as YAML.

    Raises InvalidInput without a live object or without the container in it, and Refused where a container has a
    secret written into its environment: the file would carry it on.
    """
    usage = f"Apply it with: kubectl apply -n {result.namespace} -f FILE"
    return result.header(usage) + dump(manifest(result))


def manifest(result: Result) -> dict[str, Any]:
    """The Deployment without what the API server and the tuner wrote into it."""
    if result.live is None:
        raise InvalidInput("a whole Deployment can only be written from the live one; use -o strategic-merge or flags")
    live = copy.deepcopy(dict(result.live))
    _put(live, result)
    _refuse_secrets(live, result)
    template = live["spec"]["template"]
    template_metadata = _annotated(template.get("metadata") or {})
    template_metadata.pop("creationTimestamp", None)
    metadata = {name: value for name, value in live["metadata"].items() if name not in _SERVER_METADATA}
    return {
        "apiVersion": live.get("apiVersion", "apps/v1"),
        "kind": live.get("kind", "Deployment"),
        "metadata": _annotated(metadata),
        "spec": {**live["spec"], "template": {"metadata": template_metadata, "spec": template["spec"]}},
    }


def _annotated(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without annotations of the server's and the tuner's; without any, without the key."""
    kept = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if not _SERVER_ANNOTATIONS.fullmatch(name)
    }
    rest = {name: value for name, value in metadata.items() if name != "annotations"}
    return {**rest, "annotations": kept} if kept else rest


def _put(live: dict[str, Any], result: Result) -> None:
    containers = live["spec"]["template"]["spec"]["containers"]
    found = [container for container in containers if container.get("name") == result.container]
    if not found:
        raise InvalidInput(f"Deployment {result.deployment} has no container {result.container!r} any more")
    for name, items in result.changed.items():
        found[0][name] = list(items)
    for kind, values in result.resources.items():
        found[0].setdefault("resources", {}).setdefault(kind, {}).update(values)


def _refuse_secrets(live: Mapping[str, Any], result: Result) -> None:
    engine = engine_named(result.engine)
    spec = live["spec"]["template"]["spec"]
    names = [
        f"{variable['name']} (container {container.get('name')})"
        for container in [*spec["containers"], *(spec.get("initContainers") or [])]
        for variable in container.get("env") or []
        if variable.get("value") and _secret(variable["name"], str(variable["value"]), engine.redact)
    ]
    if names:
        raise Refused(
            f"the Deployment has secrets in plain text in its environment: {', '.join(names)}; move them to a Secret, "
            "or use -o strategic-merge, which carries no environment"
        )


def _secret(name: str, value: str, redact: Any) -> bool:
    return _SECRET_NAME.search(name) is not None or redact(value) != value
