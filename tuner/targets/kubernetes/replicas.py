"""A Deployment's ReplicaSets and pods, followed by owner rather than by label alone."""

from __future__ import annotations

import asyncio
import contextlib

from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import ApiError, Conflict
from tuner.targets.kubernetes.fields import START, Object
from tuner.targets.kubernetes.resources import PODS, REPLICASETS

_PRUNE_TRIES = 10
_PRUNE_PAUSE_S = 0.2


def start_of(replicaset: Object) -> str | None:
    """The mark of the start that made a ReplicaSet; None for one that is not ours."""
    annotations = (replicaset["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    mark = annotations.get(START)
    return str(mark) if mark is not None else None


def owned_by(item: Object, owner: Object) -> bool:
    """Whether `owner` controls `item`."""
    references = item["metadata"].get("ownerReferences") or []
    return any(r.get("controller") and r["uid"] == owner["metadata"]["uid"] for r in references)


def complete(deployment: Object) -> bool:
    """Whether all that was asked of a Deployment has come true and is available, as `kubectl rollout status` has it."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


async def replicasets(client: Client, deployment: Object, *, patience_s: float | None = None) -> list[Object]:
    """All ReplicaSets of a Deployment."""
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    found = await client.list(REPLICASETS, deployment["metadata"]["namespace"], labels, patience_s=patience_s)
    return [item for item in found if owned_by(item, deployment)]


async def pods(client: Client, replicaset: Object, *, patience_s: float | None = None) -> list[Object]:
    """A ReplicaSet's pods, those that are ending included."""
    labels = {"pod-template-hash": replicaset["metadata"]["labels"]["pod-template-hash"]}
    found = await client.list(PODS, replicaset["metadata"]["namespace"], labels, patience_s=patience_s)
    return [pod for pod in found if owned_by(pod, replicaset)]


def is_current(replicaset: Object, deployment: Object) -> bool:
    """Whether a ReplicaSet has the Deployment's present template: the controller's own comparison, hash left out."""
    template = replicaset["spec"]["template"]
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != "pod-template-hash"}
    return bool({**template, "metadata": {**metadata, "labels": labels}} == deployment["spec"]["template"])


async def old_pods(client: Client, deployment: Object, *, patience_s: float | None = None) -> list[Object]:
    """Pods of other templates than the present one that still hold their resources."""
    found: list[Object] = []
    for replicaset in await replicasets(client, deployment, patience_s=patience_s):
        if not is_current(replicaset, deployment):
            left = await pods(client, replicaset, patience_s=patience_s)
            found += [pod for pod in left if pod["status"].get("phase") in ("Pending", "Running")]
    return found


async def prune(client: Client, deployment: Object) -> None:
    """Delete what our starts left of ReplicaSets, so that they push no revision of the user's out of history.

    Never raises: without the right to delete, they stay; so does one that is not empty within seconds.
    """
    with contextlib.suppress(ApiError):
        for _ in range(_PRUNE_TRIES):
            left = [r for r in await replicasets(client, deployment) if start_of(r) and not is_current(r, deployment)]
            if not left:
                return
            for item in left:
                if item["spec"].get("replicas") or item.get("status", {}).get("replicas"):
                    continue
                metadata = item["metadata"]
                with contextlib.suppress(Conflict):  # its controller has just written its status
                    await client.delete(
                        REPLICASETS, metadata["namespace"], metadata["name"], metadata["resourceVersion"]
                    )
            await asyncio.sleep(_PRUNE_PAUSE_S)
