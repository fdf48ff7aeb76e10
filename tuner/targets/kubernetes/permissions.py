"""The rights that the tuner needs in a namespace, and which of them its account lacks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.resources import (
    DEPLOYMENTS,
    HPAS,
    LEASES,
    NODES,
    PODS,
    REPLICASETS,
    SCALED_OBJECTS,
    Resource,
)


@dataclass(frozen=True)
class Right:
    """One verb on one kind of object, and what it is needed for. Without an optional one the tuner still works."""

    verb: str
    resource: Resource
    why: str
    subresource: str = ""
    optional: bool = False

    def __str__(self) -> str:
        resource = f"{self.resource.plural}/{self.subresource}" if self.subresource else str(self.resource)
        return f"{self.verb} {resource} ({self.why})"


RIGHTS = (
    Right("get", DEPLOYMENTS, "read the engine's flags"),
    Right("list", DEPLOYMENTS, "find engines"),
    Right("patch", DEPLOYMENTS, "set the engine's flags"),
    Right("list", REPLICASETS, "follow a rollout"),
    Right("list", PODS, "follow a rollout"),
    Right("get", PODS, "name the cause of an engine's end"),
    Right("get", PODS, "name the cause of a failed start", subresource="log"),
    Right("get", LEASES, "one tuner per Deployment"),
    Right("create", LEASES, "one tuner per Deployment"),
    Right("patch", LEASES, "one tuner per Deployment"),
    Right("delete", LEASES, "give the lease up"),
    Right("delete", REPLICASETS, "keep trials out of the rollout history", optional=True),
    Right("patch", REPLICASETS, "take copies of the kept original off the rollout history", optional=True),
    Right("list", HPAS, "see autoscalers that would interfere", optional=True),
    Right("list", SCALED_OBJECTS, "see KEDA objects that would interfere", optional=True),
    Right("get", NODES, "name the GPU from its node's labels", optional=True),
)


async def missing(client: Client, namespace: str) -> tuple[Right, ...]:
    """The rights that our account lacks in a namespace; none where the server does not review access."""

    async def lacks(right: Right) -> bool:
        try:
            return not await client.allowed(right.verb, right.resource, namespace, right.subresource)
        except ApiError:
            return False

    answers = await asyncio.gather(*(lacks(right) for right in RIGHTS))
    return tuple(right for right, lacking in zip(RIGHTS, answers, strict=True) if lacking)
