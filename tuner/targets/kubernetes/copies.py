"""Copies of a kept original: the Deployment controller puts them on ReplicaSets, a rollout undo brings them back."""

from __future__ import annotations

import asyncio
import contextlib
import time

from tuner.targets.kubernetes import replicas
from tuner.targets.kubernetes.client import MERGE, Client
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.fields import ORIGINAL, Object
from tuner.targets.kubernetes.resources import DEPLOYMENTS, REPLICASETS
from tuner.targets.kubernetes.snapshot import Snapshot, annotations_of, copy_on, id_in_force

_SEEN_S = 10.0
_POLL_S = 0.2
_TAKE_OFF = {"metadata": {"annotations": {ORIGINAL: None}}}


async def in_force(client: Client, deployment: Object) -> Snapshot | None:
    """The original that a Deployment's label names, where an undo in the middle of a study took the annotation."""
    wanted = id_in_force(deployment)
    if wanted is None:
        return None
    found = [copy_on(item) for item in await replicas.replicasets(client, deployment)]
    return next((copy for copy in found if copy is not None and copy.id == wanted), None)


async def remove(client: Client, deployment: Object) -> None:
    """Take the copies off the ReplicaSets of a Deployment that carries none any more.

    Never raises: a copy that stays, for want of the right to patch ReplicaSets, is in force nowhere.
    """
    with contextlib.suppress(ApiError):
        await _seen(client, deployment)
        for item in await replicas.replicasets(client, deployment):
            if ORIGINAL not in annotations_of(item):
                continue
            metadata = item["metadata"]
            with contextlib.suppress(ApiError):
                await client.patch(REPLICASETS, metadata["namespace"], metadata["name"], _TAKE_OFF, content_type=MERGE)


async def _seen(client: Client, deployment: Object) -> None:
    """Wait until the controller has seen the Deployment without the annotation: until then it copies it again."""
    metadata, limit = deployment["metadata"], time.monotonic() + _SEEN_S
    while deployment.get("status", {}).get("observedGeneration", 0) < metadata["generation"]:
        if time.monotonic() > limit:
            return
        await asyncio.sleep(_POLL_S)
        deployment = await client.get(DEPLOYMENTS, metadata["namespace"], metadata["name"])
