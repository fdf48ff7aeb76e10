"""A Deployment's ReplicaSets and pods, followed by owner rather than by label alone."""

from __future__ import annotations

from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import Conflict, Forbidden
from tuner.targets.kubernetes.fields import START, Object
from tuner.targets.kubernetes.resources import PODS, REPLICASETS


def start_of(replicaset: Object) -> str | None:
    """The mark of the start that made a ReplicaSet; None for one that is not ours."""
    annotations = (replicaset["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    mark = annotations.get(START)
    return str(mark) if mark is not None else None


def owned_by(item: Object, owner: Object) -> bool:
    """Whether `owner` controls `item`."""
    references = item["metadata"].get("ownerReferences") or []
    return any(r.get("controller") and r["uid"] == owner["metadata"]["uid"] for r in references)


async def replicasets(client: Client, deployment: Object) -> list[Object]:
    """All ReplicaSets of a Deployment."""
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    found = await client.list(REPLICASETS, deployment["metadata"]["namespace"], labels)
    return [item for item in found if owned_by(item, deployment)]


async def pods(client: Client, replicaset: Object) -> list[Object]:
    """A ReplicaSet's pods, those that are ending included."""
    labels = {"pod-template-hash": replicaset["metadata"]["labels"]["pod-template-hash"]}
    found = await client.list(PODS, replicaset["metadata"]["namespace"], labels)
    return [pod for pod in found if owned_by(pod, replicaset)]


async def trial_pods(client: Client, deployment: Object) -> list[Object]:
    """Pods of our starts that still hold their resources."""
    found: list[Object] = []
    for replicaset in await replicasets(client, deployment):
        if start_of(replicaset) is not None:
            found += [p for p in await pods(client, replicaset) if p["status"].get("phase") in ("Pending", "Running")]
    return found


async def prune(client: Client, deployment: Object, keep: str | None = None) -> None:
    """Delete what our starts left of empty ReplicaSets, so that they push no revision of the user's out of history.

    `keep` is the mark of the start that runs now. Without the right to delete, they stay.
    """
    namespace = deployment["metadata"]["namespace"]
    for item in await replicasets(client, deployment):
        empty = not item["spec"].get("replicas") and not item.get("status", {}).get("replicas")
        if not empty or start_of(item) in (None, keep):
            continue
        try:
            metadata = item["metadata"]
            await client.delete(REPLICASETS, namespace, metadata["name"], metadata["resourceVersion"])
        except Conflict:
            continue
        except Forbidden:
            return
