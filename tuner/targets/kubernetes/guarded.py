"""Changing a Deployment that others change too: read, decide, patch what was read, and again after a lost race."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tuner.targets.kubernetes.client import STRATEGIC, Client
from tuner.targets.kubernetes.errors import Conflict
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.resources import DEPLOYMENTS

# The Deployment's own controller writes its status several times in a rollout, and each write costs us a race.
_TRIES = 30
_PAUSE_S = 0.1


async def change(
    client: Client,
    namespace: str,
    name: str,
    decide: Callable[[Object], Object | None],
    *,
    content_type: str = STRATEGIC,
    check: Callable[[Object], None] | None = None,
    patience_s: float | None = None,
) -> Object:
    """Apply the patch that `decide` makes of the live object (None: nothing to do); returns the object afterwards.

    `decide` sees the object anew after each lost race and raises what it finds wrong. With `check` the patch is tried
    as a dry run first: policies and unknown fields refuse it before anything has changed, and `check` raises where the
    object would not become what it should.
    """
    for attempt in range(1, _TRIES + 1):
        live = await client.get(DEPLOYMENTS, namespace, name, patience_s=patience_s)
        body = decide(live)
        if body is None:
            return live
        metadata = {**body.get("metadata", {}), "resourceVersion": live["metadata"]["resourceVersion"]}
        guarded = {**body, "metadata": metadata}
        try:
            if check is not None:
                check(
                    await client.patch(DEPLOYMENTS, namespace, name, guarded, content_type=content_type, dry_run=True)
                )
            return await client.patch(
                DEPLOYMENTS, namespace, name, guarded, content_type=content_type, patience_s=patience_s
            )
        except Conflict:
            if attempt == _TRIES:
                raise
            await asyncio.sleep(_PAUSE_S)
    raise AssertionError("unreachable")
