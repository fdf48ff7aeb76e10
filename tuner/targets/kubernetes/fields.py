"""The few fields of a Deployment that the tuner changes: reading them, writing them, naming who owns them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.core.errors import Refused

Object = dict[str, Any]
#: Field name -> value as found in the object; None: absent.
Fields = dict[str, Any]

#: On the Deployment: what was there before us.
ORIGINAL = "tuner.dev/original"
#: On the pod template: differs at every start, so that equal settings still make a fresh process.
START = "tuner.dev/start"

ARGS, COMMAND, GPUS = "args", "command", "gpus"
STRATEGY, DEADLINE, HISTORY = "strategy", "progressDeadlineSeconds", "revisionHistoryLimit"
_LISTS = (ARGS, COMMAND)
#: The fields that lie in the engine's container.
OF_CONTAINER = (*_LISTS, GPUS)
_SPEC = (STRATEGY, DEADLINE, HISTORY)
_ALL = (*_LISTS, GPUS, *_SPEC, START)
GPU = "nvidia.com/gpu"


def has_container(deployment: Object, name: str) -> bool:
    """Whether the pod template has a container of this name."""
    return any(container["name"] == name for container in deployment["spec"]["template"]["spec"]["containers"])


def container_of(deployment: Object, name: str) -> Object:
    """The container by its name. Raises Refused where it is gone."""
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        if container["name"] == name:
            return dict(container)
    raise Refused(f"the pod template has no container {name!r} any more")


def read(deployment: Object, container: str, names: Iterable[str] = _ALL) -> Fields:
    """The values that these fields have in a Deployment. Raises Refused where one lay in a container that is gone."""
    spec, names = deployment["spec"], tuple(names)
    engine = container_of(deployment, container) if set(OF_CONTAINER) & {*names} else {}
    found: Fields = {}
    for name in names:
        if name in _LISTS:
            found[name] = engine.get(name)
        elif name == GPUS:
            resources = engine.get("resources") or {}
            found[name] = {kind: (resources.get(kind) or {}).get(GPU) for kind in ("limits", "requests")}
        elif name == START:
            found[name] = (spec["template"].get("metadata") or {}).get("annotations", {}).get(START)
        else:
            found[name] = spec.get(name)
    return found


def put(deployment: Object, container: str, values: Mapping[str, Any]) -> None:
    """Set the fields in an object at hand, as `patch` would on the server; not those of a container that is gone."""
    spec = deployment["spec"]
    engine: Object = next((c for c in spec["template"]["spec"]["containers"] if c["name"] == container), {})
    for name, value in values.items():
        if name in _LISTS:
            _set(engine, name, value)
        elif name == GPUS:
            for kind, count in value.items():
                _set_below(engine, ("resources", kind), GPU, count)
        elif name == START:
            _set_below(spec["template"], ("metadata", "annotations"), START, value)
        else:
            _set(spec, name, value)


def _set_below(where: Object, path: tuple[str, ...], key: str, value: Any) -> None:
    """Set a key some levels down; what is left empty goes, as the server drops it."""
    if not path:
        _set(where, key, value)
        return
    child = where.setdefault(path[0], {})
    _set_below(child, path[1:], key, value)
    if not child:
        del where[path[0]]


def _set(where: Object, key: str, value: Any) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value


def patch(container: str, values: Mapping[str, Any]) -> Object:
    """A strategic merge patch that gives the fields these values; lists are replaced whole, containers go by name."""
    spec: Object = {name: values[name] for name in _SPEC if name in values}
    if STRATEGY in spec:
        # The API server refuses Recreate as long as the old type's parameters are there.
        spec[STRATEGY] = {"rollingUpdate": None, **spec[STRATEGY]}
    engine: Object = {name: values[name] for name in _LISTS if name in values}
    if GPUS in values:
        engine["resources"] = {kind: {GPU: count} for kind, count in values[GPUS].items()}
    template: Object = {}
    if START in values:
        template["metadata"] = {"annotations": {START: values[START]}}
    if engine:
        template["spec"] = {"containers": [{"name": container, **engine}]}
    if template:
        spec["template"] = template
    return {"spec": spec} if spec else {}


def owned_paths(container: str, names: Iterable[str]) -> list[tuple[str, ...]]:
    """Where these fields lie in a managedFields entry (fieldsV1 keys)."""
    template = ("f:spec", "f:template")
    engine = (*template, "f:spec", "f:containers", f"k:{json.dumps({'name': container}, separators=(',', ':'))}")
    paths: list[tuple[str, ...]] = []
    for name in names:
        if name in _LISTS:
            paths.append((*engine, f"f:{name}"))
        elif name == GPUS:
            paths += [(*engine, "f:resources", f"f:{kind}", f"f:{GPU}") for kind in ("limits", "requests")]
        elif name == START:
            paths.append((*template, "f:metadata", "f:annotations", f"f:{START}"))
        else:
            paths.append(("f:spec", f"f:{name}"))
    return paths
