"""Why an engine that was ready no longer serves, by the Deployment, its pod and its log."""

from __future__ import annotations

import asyncio
import contextlib
import time

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.engines.engine import Exit
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.external import fail_if_changed
from tuner.targets.kubernetes.pods import blame, read_pod, setup_failure, taken_away
from tuner.targets.kubernetes.resources import DEPLOYMENTS, PODS
from tuner.targets.kubernetes.rollout import Ready, Start

# The kubelet shows an exit about a second after it; what shows later was not the reason.
_LOOK_S = 3.0
_POLL_S = 0.3
_LOG_LINES = 1000
_LOG_PATIENCE_S = 5.0
_SPECIFIC = frozenset({Cause.GPU_OOM_UNDER_LOAD, Cause.HOST_OOM, Cause.KV_CACHE_TOO_SMALL})


async def diagnose(client: Client, start: Start, ready: Ready, failure: Failure) -> Failure:
    """`failure` refined by what shows within seconds; itself where nothing does."""
    limit, outage_s = time.monotonic() + _LOOK_S, client.outage_s
    while True:
        try:
            better = await _look(client, start, ready)
        except TrialFailed as external:
            return external.failure
        except ApiError:
            return failure
        if better is not None or time.monotonic() > limit + client.outage_s - outage_s:
            return better or failure
        await asyncio.sleep(_POLL_S)


async def _look(client: Client, start: Start, ready: Ready) -> Failure | None:
    """One look; None where nothing shows."""
    metadata, name = start.deployment["metadata"], ready.pod.name

    async def log(previous: bool = False) -> str:
        namespace, container = metadata["namespace"], start.container
        with contextlib.suppress(ApiError):  # the node may be gone, and the pod's status still tell
            return await client.log(
                namespace, name, container, previous=previous, tail=_LOG_LINES, patience_s=_LOG_PATIENCE_S
            )
        return ""

    fail_if_changed(start.deployment, await client.find(DEPLOYMENTS, metadata["namespace"], metadata["name"]))
    found = await client.find(PODS, metadata["namespace"], name)
    if found is None:
        return Failure(Cause.EXTERNAL_CHANGE, f"the pod {name} was deleted")
    pod = read_pod(found, start.container)
    failure = taken_away(pod)
    if failure is not None:
        return failure  # its containers end with it, and say nothing of why
    if pod.crash is not None and pod.ends > ready.pod.ends:
        return blame(start.engine, await log(pod.log_is_previous) or pod.crash.message, pod.crash, under_load=True)
    failure = setup_failure(pod)
    if failure is not None:
        return failure
    told = start.engine.diagnose(await log(), Exit(None), under_load=True)
    return told if told.cause in _SPECIFIC else None
