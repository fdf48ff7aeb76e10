"""Whether an object is as it was: its spec, its metadata, and who owns which field."""

from __future__ import annotations

import json
from typing import Any

ORIGINAL = "tuner.dev/original"
# The Deployment controller counts rollouts here; no one can put that back, and nothing depends on it.
_COUNTED = {"deployment.kubernetes.io/revision"}


def state(thing: dict[str, Any]) -> dict[str, Any]:
    """Everything of an object that a user could have written, with the owners of each field.

    Owners of the status come and go with every condition and are left out, and so is the time of an entry.
    """
    metadata = thing["metadata"]
    annotations = {name: text for name, text in metadata.get("annotations", {}).items() if name not in _COUNTED}
    owners = [
        {key: value for key, value in entry.items() if key != "time"}
        for entry in metadata.get("managedFields", [])
        if entry.get("subresource") != "status"
    ]
    return {
        "spec": thing["spec"],
        "labels": metadata.get("labels", {}),
        "annotations": annotations,
        "finalizers": metadata.get("finalizers", []),
        "owners": sorted(owners, key=lambda entry: (entry["manager"], entry["operation"])),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Where two objects differ in state, one line each: path, value before, value after."""
    return _compare(state(before), state(after), "")


def assert_untouched(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Fail with every difference in spec, metadata or ownership."""
    found = differences(before, after)
    assert not found, "not as it was:\n" + "\n".join(found)


def assert_forgotten(replicasets: list[dict[str, Any]]) -> None:
    """Fail where a rollout undo to one of these ReplicaSets would bring the annotation of an ended study back."""
    found = [one["metadata"]["name"] for one in replicasets if ORIGINAL in one["metadata"].get("annotations", {})]
    assert not found, f"{ORIGINAL} is still on {', '.join(found)}"


def _compare(before: Any, after: Any, path: str) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in sorted({*before, *after})
            for line in _compare(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for index, (old, new) in enumerate(zip(before, after, strict=True))
            for line in _compare(old, new, f"{path}[{index}]")
        ]
    return [] if before == after else [f"{path}: {json.dumps(before)} -> {json.dumps(after)}"]
