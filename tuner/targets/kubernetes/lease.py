"""The exclusive right to change one Deployment: a Lease that is renewed while a study runs and expires after a kill.

A Lease alone fences nothing, so every patch is guarded by resourceVersion too, and none is sent once the right is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

from tuner.core.errors import Refused
from tuner.targets.kubernetes.client import MERGE, Client
from tuner.targets.kubernetes.errors import ApiError, Conflict
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.resources import LEASES

_TOKEN = "tuner.dev/process"
_TRIES = 10


def lease_name(deployment: str) -> str:
    """The Lease's name: derived from the Deployment's, within the length that names may have."""
    name = f"tuner-{deployment}"
    return name if len(name) <= 253 else f"{name[:236]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


async def forget(client: Client, namespace: str, deployment: str, holder: str) -> None:
    """Remove the Lease of a holder that is given up on; a process of it that still runs stops. Never raises."""
    await _remove(
        client, namespace, lease_name(deployment), lambda found: found["spec"].get("holderIdentity") == holder
    )


async def _remove(client: Client, namespace: str, name: str, ours: Callable[[Object], bool]) -> None:
    with contextlib.suppress(ApiError):
        for _ in range(_TRIES):
            found = await client.find(LEASES, namespace, name)
            if found is None or not ours(found):
                return
            with contextlib.suppress(Conflict):
                await client.delete(LEASES, namespace, name, found["metadata"]["resourceVersion"])
                return


class Lease:
    """The right on one Deployment for `holder` (a study's id), kept by one process (`process`, unique).

    The same holder takes over at once, which makes the earlier process of that study lose it; another holder only
    takes an expired one.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        deployment: str,
        holder: str,
        process: str,
        *,
        duration_s: int = 30,
    ) -> None:
        self._client, self._namespace, self._name = client, namespace, lease_name(deployment)
        self._deployment, self._holder, self._process = deployment, holder, process
        self._duration_s = duration_s
        self._renewed = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._renewing = asyncio.Lock()  # two at once would lose the race against each other
        #: Set when the right is lost; `reason` says how, `taken_by` who has it now (empty: nobody).
        self.lost = asyncio.Event()
        self.reason = ""
        self.taken_by = ""

    @property
    def held(self) -> bool:
        """Whether the right is ours for sure: renewed within its duration by our own clock."""
        return not self.lost.is_set() and time.monotonic() - self._renewed < self._duration_s

    def check(self) -> None:
        """Raise Refused where another process has the right."""
        if self.lost.is_set():
            raise Refused(self.reason)

    async def ensure(self) -> None:
        """Make sure that the right is ours now: after an outage it is renewed first. Raises Refused where it is not."""
        async with self._renewing:
            for _ in range(_TRIES):
                if self.held or self.lost.is_set():
                    break
                await self._renew()
        self.check()
        if not self.held:
            raise Refused(f"the lease on {self._deployment} could not be renewed; stopped")

    async def is_taken(self, patience_s: float = 600.0) -> bool:
        """Whether another process has the right, by a look at it now: a process that was stopped for a while may not
        have noticed. Where nobody has it any more, nobody has taken it."""
        with contextlib.suppress(ApiError):
            async with self._renewing:
                await self._renew(patience_s)
        return bool(self.taken_by)

    async def acquire(self) -> None:
        """Take the right and keep renewing it. Raises Refused naming the other holder."""
        for _ in range(_TRIES):
            began = time.monotonic()
            found = await self._client.find(LEASES, self._namespace, self._name)
            try:
                if found is None:
                    await self._client.create(LEASES, self._namespace, self._body(0))
                else:
                    await self._wait_expired(found)
                    await self._write(found, transitions=self._transitions(found))
            except Conflict:
                continue
            self._renewed = began
            self._task = asyncio.create_task(self._keep(), name=f"lease {self._name}")
            return
        raise Refused(f"the lease {self._name} changes all the time: several tuners want {self._deployment}")

    async def release(self) -> None:
        """Stop renewing and give the right up, if it is ours. Never raises."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await _remove(self._client, self._namespace, self._name, self._is_ours)
        self._renewed = float("-inf")

    async def _keep(self) -> None:
        while not self.lost.is_set():
            await asyncio.sleep(self._duration_s / 3)
            # An outage is waited out: who finds the lease unchanged afterwards still has it.
            with contextlib.suppress(ApiError):
                async with self._renewing:
                    await self._renew()

    async def _renew(self, patience_s: float | None = None) -> None:
        found = await self._client.find(LEASES, self._namespace, self._name, patience_s=patience_s)
        if found is None or not self._is_ours(found):
            self.taken_by = "" if found is None else found["spec"].get("holderIdentity") or ""
            how = f"was taken over by {self.taken_by}" if self.taken_by else "was removed"
            self.reason = f"the lease on {self._deployment} {how}; this process stopped"
            self.lost.set()
            return
        with contextlib.suppress(Conflict):
            began = time.monotonic()  # not before: an outage may have passed since
            await self._write(found, transitions=found["spec"].get("leaseTransitions") or 0)
            self._renewed = began

    async def _write(self, found: Object, transitions: int) -> None:
        body = self._body(transitions)
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        if self._is_ours(found):
            del body["spec"]["acquireTime"]
        await self._client.patch(LEASES, self._namespace, self._name, body, content_type=MERGE)

    async def _wait_expired(self, found: Object) -> None:
        """Return where the lease may be taken; raise Refused where another holder is alive."""
        holder = found["spec"].get("holderIdentity") or ""
        if holder in ("", self._holder):
            return
        duration = found["spec"].get("leaseDurationSeconds") or self._duration_s
        renewed = found["spec"].get("renewTime") or found["metadata"].get("creationTimestamp")
        age = (datetime.now(UTC) - datetime.fromisoformat(renewed)).total_seconds()
        if age > duration:
            # Clocks differ between machines: a lease that looks expired must also stand still.
            await asyncio.sleep(min(duration / 2, self._duration_s / 2))
            again = await self._client.find(LEASES, self._namespace, self._name)
            if again is None or again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]:
                return
        raise Refused(
            f"{self._deployment} is being tuned by {holder} (lease {self._name}, renewed {renewed}); "
            f"wait for its end, or stop it: the lease expires {duration} s after its last renewal"
        )

    def _is_ours(self, found: Object) -> bool:
        token = (found["metadata"].get("annotations") or {}).get(_TOKEN)
        return found["spec"].get("holderIdentity") == self._holder and token == self._process

    def _transitions(self, found: Object) -> int:
        before = int(found["spec"].get("leaseTransitions") or 0)
        return before + int(found["spec"].get("holderIdentity") != self._holder)

    def _body(self, transitions: int) -> Object:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "annotations": {_TOKEN: self._process}},
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": self._duration_s,
                "acquireTime": stamp,
                "renewTime": stamp,
                "leaseTransitions": transitions,
            },
        }
