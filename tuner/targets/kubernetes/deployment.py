"""A live Deployment as a tuner.targets.target.Target."""

from __future__ import annotations

import asyncio
import time
import uuid

from tuner.core.cause import Failure
from tuner.core.errors import NotRestored, Refused, TunerError
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.engines.engine import Engine
from tuner.targets.kubernetes import fields, readback, replicas
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.diagnosis import diagnose
from tuner.targets.kubernetes.differences import diff
from tuner.targets.kubernetes.fields import Fields, Object
from tuner.targets.kubernetes.inspection import Inspection, current_pod, fail_without_route, inspect
from tuner.targets.kubernetes.lease import Lease
from tuner.targets.kubernetes.resources import DEPLOYMENTS, REPLICASETS
from tuner.targets.kubernetes.restore import recover, restore, settle
from tuner.targets.kubernetes.rollout import Ready, Rollout, Start
from tuner.targets.kubernetes.traffic import seen_traffic
from tuner.targets.kubernetes.writing import Writer
from tuner.targets.target import Progress, Running

#: What stays of a winner that is applied.
_KEPT = (fields.COMMAND, fields.ARGS, fields.GPUS)
_AGAIN_S = 1.0


class KubernetesTarget:
    """The engine of one Deployment, changed in place and put back.

    `study` is the id of the study that asks: what an earlier run of it left on the Deployment is looked through.
    `endpoint` is a base URL that leads to the engine where its pod's IP can't be reached. Not safe for use by several
    tasks at once.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        engine: Engine,
        *,
        endpoint: str | None = None,
        api_key: str | None = None,
        study: str | None = None,
        lease_s: int = 30,
    ) -> None:
        self._client, self._namespace, self._name, self._engine = client, namespace, name, engine
        self._endpoint = endpoint.rstrip("/") if endpoint else None
        self._api_key, self._study, self._lease_s = api_key, study, lease_s
        self._inspected: Inspection | None = None
        self._taken: Lease | None = None
        self._prunes = False
        self._written: Object | None = None  # as our last patch returned it
        self._ready: Ready | None = None

    def now(self) -> float:
        """Monotonic wall time."""
        return time.monotonic()

    async def inspect(self) -> TargetInfo:
        """See Target.inspect. Raises Refused with all that speaks against tuning it, one reason per line."""
        self._inspected = await inspect(
            self._client,
            self._namespace,
            self._name,
            self._engine,
            study=self._study,
            endpoint=self._endpoint,
            api_key=self._api_key,
        )
        return self._inspected.info

    async def traffic(self) -> str:
        """See Target.traffic."""
        seen = self.seen
        pod = await current_pod(self._client, seen.deployment, seen.container.name)
        if pod is None or not pod.ready:
            return ""
        serving = seen.route.serving(pod.ip)
        try:
            return await seen_traffic(serving, self._engine)
        finally:
            await serving.close()

    async def acquire(self, holder: str) -> None:
        """See Target.acquire. Raises Refused, too, where the engine that runs now can't be reached."""
        if self._inspected is not None:
            await fail_without_route(self._client, self._inspected)
        self._study = holder
        self._taken = Lease(self._client, self._namespace, self._name, holder, _new_id(), duration_s=self._lease_s)
        await self._taken.acquire()
        self._prunes = await self._client.allowed("delete", REPLICASETS, self._namespace)

    async def lost(self) -> str:
        """See Target.lost."""
        await self._lease.lost.wait()
        return self._lease.reason

    async def apply(self, candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        """See Target.apply."""
        began = self.now()
        if self._prunes and self._written is not None:
            # Also after starts that failed: a row of them would push the user's revisions out of the history.
            await replicas.prune(self._client, self._written)
        progress("changing the Deployment")
        await self._write(self.seen.values(candidate, deadline_s, mark=_new_id(), prunes=self._prunes))
        return await self._follow(candidate, began, deadline_s, progress)

    @property
    def seen(self) -> Inspection:
        """As `inspect` found it. Raises Refused before that."""
        if self._inspected is None:
            raise Refused("inspect the target before changing it")
        return self._inspected

    def preview(self, candidate: Candidate, lists: Fields | None = None) -> str | None:
        """What `keep` would change, as a unified diff (secrets masked); None for no change."""
        seen = self.seen
        after = {**seen.values(candidate), **(lists or {})}
        before = fields.read(seen.deployment, seen.container.name, [name for name in _KEPT if name in after])
        parts = [
            diff(name, value, after[name], "now", "then") for name, value in before.items() if value != after[name]
        ]
        return "\n".join(parts) if parts else None

    async def keep(
        self,
        candidate: Candidate,
        holder: str,
        deadline_s: float,
        progress: Progress,
        lists: Fields | None = None,
    ) -> Running:
        """Change the Deployment to `candidate` for good; undone where the engine does not become ready with it.

        `lists` are command and args that spell it to the letter; None: those of today are edited.

        Takes the exclusive right for `holder` first. The rollout goes by the Deployment's own strategy unless that
        would wait for a second GPU. Strategy and deadline go back at the end; the flags stay, owned by us. Raises
        TrialFailed after the undoing, NotRestored where that fails.
        """
        began = self.now()
        await self.acquire(holder)
        progress("changing the Deployment")
        try:
            await self._write({**self.seen.values(candidate, deadline_s), **(lists or {})})
            running = await self._follow(candidate, began, deadline_s, progress)
            await settle(self._client, self._namespace, self._name, _KEPT)
        except BaseException:
            await self._undo()
            raise
        self._written = None
        return running

    async def _undo(self) -> None:
        try:
            await self.restore()
        except TunerError as error:
            how = f"`tuner restore -n {self._namespace} {self._name}` puts it back"
            raise NotRestored(f"the change failed and could not be undone: {error}\n{how}") from error

    async def diagnose(self, failure: Failure) -> Failure:
        """See Target.diagnose."""
        if self._written is None or self._ready is None:
            return failure
        return await diagnose(self._client, self._start(self._written), self._ready, failure)

    async def restore(self) -> None:
        """See Target.restore."""
        if self._taken is not None and await self._taken.is_taken():
            raise Refused(f"{self._taken.reason}; whoever holds it now restores {self._name}")
        report = await restore(self._client, self._namespace, self._name)
        if not report.found and self._written is not None:
            await recover(self._client, self._written)
        self._written, self._ready = None, None

    async def serves_again(self, deadline_s: float) -> bool:
        """See Target.serves_again: by the Deployment's own word, since its readinessProbe is the user's."""
        limit = self.now() + deadline_s
        while self.now() < limit:
            live = await self._client.get(DEPLOYMENTS, self._namespace, self._name)
            if replicas.complete(live):
                return True
            await asyncio.sleep(_AGAIN_S)
        return False

    async def release(self) -> None:
        """See Target.release."""
        lease, self._taken = self._taken, None
        try:
            if lease is not None:
                await lease.release()
        finally:
            await self._client.close()

    @property
    def _lease(self) -> Lease:
        if self._taken is None:
            raise Refused("acquire the target before changing it")
        return self._taken

    async def _write(self, values: Fields) -> None:
        seen, lease = self.seen, self._lease
        self._ready = None
        writer = Writer(
            self._client, seen.deployment, seen.container.name, str(self._study), lease, before=self._written
        )
        self._written = await writer.write(values)

    def _start(self, written: Object) -> Start:
        return Start(written, self.seen.container.name, self._engine, self.seen.route)

    async def _follow(self, candidate: Candidate, began: float, deadline_s: float, progress: Progress) -> Running:
        """Follow what was written last until it serves as `candidate`."""
        assert self._written is not None
        start = self._start(self._written)
        ready = await Rollout(self._client, start, deadline_s, progress, self._lease.check).wait()
        took = self.now() - began
        facts = await self._facts(ready)
        readback.fail_unless_applied(self._engine, candidate, facts)
        self._ready = ready
        return Running(ready.model, facts, took, endpoint=start.route.base(ready.pod.ip))

    async def _facts(self, ready: Ready) -> EngineFacts:
        log = await self._client.log(self._namespace, ready.pod.name, self.seen.container.name)
        serving = self.seen.route.serving(ready.pod.ip)
        try:
            return self._engine.facts(log, await serving.text("/metrics"))
        finally:
            await serving.close()


def _new_id() -> str:
    return uuid.uuid4().hex[:12]
