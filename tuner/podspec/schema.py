"""Whether an object is built as Kubernetes builds its kind, as far as anything here reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.podspec.shapes import Shape, Unsupported

# A mapping says what some keys hold, a list of one what every item is, a tuple which types a value may have.
_TEXT: tuple[type, ...] = (str,)
_NUMBER: tuple[type, ...] = (int,)
_NUMBER_OR_TEXT: tuple[type, ...] = (int, str)
_WORDS = {int: "a whole number", str: "text"}

_PROBE = {
    "httpGet": {"port": _NUMBER_OR_TEXT},
    "tcpSocket": {"port": _NUMBER_OR_TEXT},
    "initialDelaySeconds": _NUMBER,
    "periodSeconds": _NUMBER,
    "failureThreshold": _NUMBER,
}
_CONTAINER = {
    "name": _TEXT,
    "image": _TEXT,
    "env": [{"name": _TEXT}],
    "ports": [{"name": _TEXT, "containerPort": _NUMBER}],
    "volumeMounts": [{"mountPath": _TEXT}],
    "resources": {"limits": {}, "requests": {}},
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "startupProbe": _PROBE,
}
TEMPLATE = {"spec": {"containers": [_CONTAINER], "nodeSelector": {}}}
DEPLOYMENT = {
    "metadata": {"name": _TEXT, "labels": {}, "annotations": {}},
    "spec": {
        "replicas": _NUMBER,
        "progressDeadlineSeconds": _NUMBER,
        "strategy": {"rollingUpdate": {"maxSurge": _NUMBER_OR_TEXT, "maxUnavailable": _NUMBER_OR_TEXT}},
        "template": TEMPLATE,
    },
}


def misbuilt(value: Any, wanted: Any, path: str = "") -> Unsupported | None:
    """The first field that is something else than it must be, by its path; None: there is none.

    Its value is not quoted. What is empty counts as left out.
    """
    if value is None:
        return None
    if isinstance(wanted, Mapping):
        return _mapping(value, wanted, path)
    if isinstance(wanted, list):
        return _list(value, wanted[0], path)
    if isinstance(value, wanted) and not isinstance(value, bool):
        return None
    return _problem(value, path, " or ".join(_WORDS[kind] for kind in wanted))


def _mapping(value: Any, wanted: Mapping[str, Any], path: str) -> Unsupported | None:
    if not isinstance(value, Mapping):
        return _problem(value, path, "a mapping")
    found = (misbuilt(value.get(key), inner, f"{path}.{key}".lstrip(".")) for key, inner in wanted.items())
    return next((problem for problem in found if problem is not None), None)


def _list(value: Any, wanted: Any, path: str) -> Unsupported | None:
    if not isinstance(value, list):
        return _problem(value, path, "a list")
    for index, item in enumerate(value):
        problem = _problem(item, f"{path}[{index}]", "a mapping") if item is None else None
        problem = problem or misbuilt(item, wanted, f"{path}[{index}]")
        if problem is not None:
            return problem
    return None


def _problem(value: Any, path: str, allowed: str) -> Unsupported:
    if isinstance(value, str) and "{{" in value:
        return Unsupported(Shape.HELM_TEMPLATE, f"{path or 'the object'} has a placeholder in double braces")
    kind = "empty" if value is None else f"a {type(value).__name__}".replace("a str", "text").replace("a int", "an int")
    return Unsupported(Shape.MALFORMED, f"{path or 'the object'} is {kind}, not {allowed}")
