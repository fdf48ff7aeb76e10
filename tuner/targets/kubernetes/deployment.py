"""A live Deployment as a tuner.targets.target.Target."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import NotRestored, Refused, TunerError
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value
from tuner.core.target import TargetInfo
from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer
from tuner.podspec.image import tag_version
from tuner.targets.kubernetes import changes, fields, guarded, readback, replicas
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.diagnosis import diagnose
from tuner.targets.kubernetes.differences import diff
from tuner.targets.kubernetes.discover import Examination, examine
from tuner.targets.kubernetes.errors import Invalid
from tuner.targets.kubernetes.external import fail_if_changed
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.hardware import gpu_of
from tuner.targets.kubernetes.lease import Lease
from tuner.targets.kubernetes.model import model_of, positional_model
from tuner.targets.kubernetes.pods import PodState, read_pod
from tuner.targets.kubernetes.resources import DEPLOYMENTS, REPLICASETS
from tuner.targets.kubernetes.restore import foreign, restore, settle
from tuner.targets.kubernetes.rollout import Ready, Rollout, Start
from tuner.targets.kubernetes.serving import Serving
from tuner.targets.kubernetes.snapshot import Snapshot, check_size, stored
from tuner.targets.kubernetes.traffic import seen_traffic
from tuner.targets.target import Progress, Running

#: What stays of a winner that is applied.
_KEPT = (fields.COMMAND, fields.ARGS, fields.GPUS)
_NOT_HELD = "acquire the target before changing it"
_AGAIN_S = 1.0
_ON_CPU = re.compile(r"device_config=cpu\b|detected platform cpu\b")
_CPU_SETTING = re.compile(r"(?:VLLM|SGLANG)_CPU_")


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
        self._examined: Examination | None = None
        self._baseline = Candidate()
        self._settings: dict[str, Value] = {}  # what the command line sets beside knobs
        self._version: str | None = None
        self._lease: Lease | None = None
        self._prunes = False
        self._written: Object | None = None  # as our last patch returned it
        self._ready: Ready | None = None

    def now(self) -> float:
        """Monotonic wall time."""
        return time.monotonic()

    async def inspect(self) -> TargetInfo:
        """See Target.inspect. Raises Refused with all that speaks against tuning it, one reason per line."""
        seen = await examine(self._client, self._namespace, self._name, [self._engine], self._study)
        if seen.refusals:
            raise Refused(f"{self._name} can't be tuned as it is:\n" + "\n".join(f"  {line}" for line in seen.refusals))
        self._examined = seen
        container = self._container
        self._baseline, self._settings = self._engine.read(container.readable)
        pod = await self._pod(seen.deployment)
        log = await self._client.log(self._namespace, pod.name, container.name) if pod else ""
        said = self._engine.facts(log, "")
        self._version = await self._running_version(pod) or said.version or tag_version(container.image)
        notes = list(seen.notes)
        # What asks for no GPU may have one all the same, by its runtime class or CDI: the engine, its image or its
        # environment says.
        for_cpu = "cpu" in container.image.rsplit("/", 1)[-1] or any(map(_CPU_SETTING.match, container.env_names))
        on_cpu = bool(_ON_CPU.search(log)) or (not container.gpu_count and for_cpu)
        gpu, gpu_count = None, container.gpu_count
        if not on_cpu:
            gpu, note = await gpu_of(self._client, seen.deployment, pod.node if pod else "")
            gpu_count = gpu_count or int(self._baseline.get("tensor_parallel_size", 1))
            notes += [note] if note else []
        model = str(self._settings.get("model") or positional_model(container.argv) or said.model or "")
        if not model:
            notes.append("the model is named neither on the command line nor in the log; name it in the study")
        return TargetInfo(
            name=f"{self._namespace}/{self._name}",
            engine=self._engine.name,
            version=self._version,
            model=model,
            model_shape=model_of(model),
            gpu=gpu,
            gpu_count=gpu_count,
            baseline=self._baseline,
            image=container.image,
            uid=seen.deployment["metadata"]["uid"],
            fixed=self._settings,
            pinned=changes.pinned(container, self._engine, self._baseline),
            on_cpu=on_cpu,
            notes=tuple(notes),
        )

    async def traffic(self) -> str:
        """See Target.traffic."""
        pod = await self._pod(self._seen.deployment)
        if pod is None or not pod.ready:
            return ""
        serving = Serving(self._base(pod.ip), self._api_key)
        try:
            return await seen_traffic(serving, self._engine)
        finally:
            await serving.close()

    async def acquire(self, holder: str) -> None:
        """See Target.acquire."""
        self._study = holder
        self._lease = Lease(self._client, self._namespace, self._name, holder, _new_id(), duration_s=self._lease_s)
        await self._lease.acquire()
        self._prunes = await self._client.allowed("delete", REPLICASETS, self._namespace)

    async def lost(self) -> str:
        """See Target.lost."""
        if self._lease is None:
            raise Refused(_NOT_HELD)
        await self._lease.lost.wait()
        return self._lease.reason

    async def apply(self, candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        """See Target.apply."""
        began = self.now()
        self._ready = None
        progress("changing the Deployment")
        self._written = await self._write(candidate, deadline_s, mark=_new_id())
        running = await self._follow(self._written, candidate, began, deadline_s, progress)
        if self._prunes:
            await replicas.prune(self._client, self._written)
        return running

    def preview(self, candidate: Candidate) -> str | None:
        """What `keep` would change, as a unified diff (secrets masked); None for no change."""
        after = self._values(candidate, 0.0)
        before = fields.read(self._seen.deployment, self._container.name, [name for name in _KEPT if name in after])
        parts = [
            diff(name, value, after[name], "now", "then") for name, value in before.items() if value != after[name]
        ]
        return "\n".join(parts) if parts else None

    async def keep(self, candidate: Candidate, holder: str, deadline_s: float, progress: Progress) -> Running:
        """Change the Deployment to `candidate` for good; undone where the engine does not become ready with it.

        Takes the exclusive right for `holder` first. The rollout goes by the Deployment's own strategy unless that
        would wait for a second GPU. Strategy and deadline go back at the end; the flags stay, owned by us. Raises
        TrialFailed after the undoing, NotRestored where that fails.
        """
        began = self.now()
        await self.acquire(holder)
        progress("changing the Deployment")
        try:
            self._written = await self._write(candidate, deadline_s, mark=None)
            running = await self._follow(self._written, candidate, began, deadline_s, progress)
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
        if self._lease is not None and await self._lease.is_taken():
            raise Refused(f"{self._lease.reason}; whoever holds it now restores {self._name}")
        await restore(self._client, self._namespace, self._name)
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
        lease, self._lease = self._lease, None
        try:
            if lease is not None:
                await lease.release()
        finally:
            await self._client.close()

    @property
    def _seen(self) -> Examination:
        if self._examined is None:
            raise Refused("inspect the target before changing it")
        return self._examined

    @property
    def _container(self) -> EngineContainer:
        container = self._seen.found.container
        assert container is not None  # examine refuses otherwise
        return container

    def _base(self, ip: str) -> str:
        if self._endpoint is not None:
            return self._endpoint
        host = f"[{ip}]" if ":" in ip else ip
        return f"http://{host}:{self._port}"

    @property
    def _port(self) -> int:
        container = self._container
        if "port" in container.referenced and container.ports:
            return container.ports[0]  # --port=$(PORT)
        return self._engine.port(container.readable)

    def _check_lease(self) -> None:
        if self._lease is None:
            raise Refused(_NOT_HELD)
        self._lease.check()

    def _start(self, written: Object) -> Start:
        return Start(written, self._container.name, self._engine, self._base, self._api_key)

    async def _follow(
        self, written: Object, candidate: Candidate, began: float, deadline_s: float, progress: Progress
    ) -> Running:
        ready = await Rollout(self._client, self._start(written), deadline_s, progress, self._check_lease).wait()
        took = self.now() - began
        facts = await self._facts(ready)
        readback.fail_unless_applied(self._engine, candidate, facts)
        self._ready = ready
        return Running(ready.model, facts, took, endpoint=ready.base)

    def _values(self, candidate: Candidate, deadline_s: float, mark: str | None = None) -> fields.Fields:
        original, name = self._seen.deployment, self._container.name
        return changes.for_start(
            original,
            name,
            self._engine.syntax(),
            self._engine.spell(candidate, self._baseline, fixed=self._settings, version=self._version),
            deadline_s=deadline_s,
            mark=mark,
            recreate=mark is not None or changes.deadlocks(original, name),
            gpus=changes.gpus_for(original, name, self._baseline, candidate),
            keep_history=mark is not None and self._prunes,
        )

    async def _write(self, candidate: Candidate, deadline_s: float, mark: str | None) -> Object:
        """Write a candidate into the Deployment, its original beside it in the same patch."""
        self._check_lease()
        assert self._lease is not None
        await self._lease.ensure()
        container = self._container
        values = self._values(candidate, deadline_s, mark)

        def decide(live: Object) -> Object | None:
            self._check_lease()
            if self._is_there(live, values):
                return None  # the answer to an earlier try was lost, not the patch
            snapshot = self._snapshot(live)
            # What an earlier start wrote and this one does not need goes back to its original.
            earlier = {name: snapshot.original.get(name) for name in snapshot.last}
            wanted = {**earlier, **values}
            wrote = snapshot.wrote(wanted)
            check_size(live, wrote.dumps())
            return {"metadata": wrote.metadata, **fields.patch(container.name, wanted)}

        def check(answer: Object) -> None:
            stays = fields.read(answer, container.name, values)
            altered = [name for name in values if stays[name] != values[name]]
            altered += [] if stored(answer) is not None else [fields.ORIGINAL]
            if altered:
                raise Refused(
                    f"an admission webhook rewrites what the tuner sets ({', '.join(altered)}); it can't be tuned"
                )

        try:
            written = await guarded.change(self._client, self._namespace, self._name, decide, check=check)
        except Invalid as error:
            raise Refused(f"the API server does not accept the change, nothing was changed: {error}") from error
        check(written)  # a webhook may leave dry runs alone
        return written

    def _is_there(self, live: Object, values: fields.Fields) -> bool:
        """Whether `live` holds what we are about to write, by our own record of it."""
        found = stored(live)
        if found is None or found.study != self._study or not values.items() <= found.last.items():
            return False
        return fields.read(live, found.container, found.last) == found.last

    def _snapshot(self, live: Object) -> Snapshot:
        """What to restore to: what the Deployment carries already, else what it is now."""
        if self._written is not None:
            fail_if_changed(self._written, live)
        found = stored(live)
        if found is None:
            if self._written is not None:
                message = f"the annotation {fields.ORIGINAL} was removed during the study"
                raise TrialFailed(Failure(Cause.EXTERNAL_CHANGE, message))
            fail_if_changed(self._seen.deployment, live, "after the study looked at it")
            return Snapshot.of(live, str(self._study), self._container.name)
        if found.study != self._study:
            raise Refused(f"the study {found.study} has changed {self._name} and not restored it")
        others = foreign(live, found)
        if others:
            message = f"{', '.join(others)} changed by somebody else since the study wrote it"
            raise TrialFailed(Failure(Cause.EXTERNAL_CHANGE, message))
        return found

    async def _facts(self, ready: Ready) -> EngineFacts:
        log = await self._client.log(self._namespace, ready.pod.name, self._container.name)
        serving = Serving(ready.base, self._api_key)
        try:
            return self._engine.facts(log, await serving.text("/metrics"))
        finally:
            await serving.close()

    async def _pod(self, deployment: Object) -> PodState | None:
        """The pod that runs now, if any."""
        for replicaset in await replicas.replicasets(self._client, deployment):
            for pod in await replicas.pods(self._client, replicaset):
                state = read_pod(pod, self._container.name)
                if not state.deleting and state.ip:
                    return state
        return None

    async def _running_version(self, pod: PodState | None) -> str | None:
        """The version that a ready engine reports."""
        if pod is None or not pod.ready:
            return None
        serving = Serving(self._base(pod.ip), self._api_key)
        try:
            return await serving.version()
        finally:
            await serving.close()


def _new_id() -> str:
    return uuid.uuid4().hex[:12]
