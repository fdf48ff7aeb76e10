"""Putting a Deployment back from nothing but the annotation it carries; safe to run at any time, any number of times.

Order, so that a kill at any point leaves something to restore from: (1) the pod template and the deadline, still under
Recreate, because the original rolling update would wait for a second GPU; (2) once our pods are gone, the strategy;
(3) ownership and the annotation's removal, in one patch; (4) its copies on ReplicaSets, which are no longer in force.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tuner.core.errors import Refused
from tuner.targets.kubernetes import copies, fields, guarded, ownership, replicas
from tuner.targets.kubernetes.client import MERGE, Client
from tuner.targets.kubernetes.differences import diff
from tuner.targets.kubernetes.errors import NotFound
from tuner.targets.kubernetes.fields import Fields, Object
from tuner.targets.kubernetes.lease import forget
from tuner.targets.kubernetes.resources import DEPLOYMENTS
from tuner.targets.kubernetes.snapshot import FORGOTTEN, Snapshot, annotations_of, id_in_force, stored

_PATIENCE_S = 600.0
_POLL_S = 0.5


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did. `found` is False where no original was in force: no field was changed.

    `fields` were put back, `overwritten` and `kept` are those that somebody else had changed meanwhile.
    """

    found: bool
    study: str | None = None
    taken: str | None = None
    fields: tuple[str, ...] = ()
    overwritten: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.found:
            return "\n".join(["nothing to restore: the Deployment carries no original of a study", *self.notes])
        done = f"put back: {', '.join(self.fields)}" if self.fields else "every field held its original value already"
        lines = [f"restored what the study {self.study} found at {self.taken}; {done}"]
        lines += [f"{name}: a change by somebody else was overwritten" for name in self.overwritten]
        lines += [f"{name}: a change by somebody else was kept" for name in self.kept]
        return "\n".join([*lines, *self.notes])


async def restore(
    client: Client,
    namespace: str,
    name: str,
    *,
    force: bool = False,
    keep: bool = False,
    patience_s: float = _PATIENCE_S,
) -> RestoreReport:
    """Give every field we changed its original value, give ownership back, and remove the annotation.

    A field that holds neither its original nor our last value was changed by somebody else: Refused with a diff,
    unless `force` (the original wins) or `keep` (the foreign value stays; the rest is put back). Keeps trying for
    `patience_s` where the API server does not answer.
    """
    try:
        live = await client.get(DEPLOYMENTS, namespace, name, patience_s=patience_s)
    except NotFound as error:
        raise Refused(f"there is no Deployment {name} in namespace {namespace}") from error
    snapshot = stored(live) or await copies.in_force(client, live)
    if snapshot is None:
        return RestoreReport(found=False, notes=await _clean(client, live, patience_s))
    gone = _gone(live, snapshot)
    if gone and not keep:
        raise Refused(
            f"{name}: the container {snapshot.container!r}, in which the study {snapshot.study} changed "
            f"{', '.join(gone)}, was taken out by somebody else; with --keep the rest is put back"
        )
    snapshot = snapshot.without(gone)
    restoration = _Restoration(client, namespace, name, snapshot, force=force, keep=keep, patience_s=patience_s)
    foreign = restoration.foreign(live)
    changed = tuple(sorted(restoration.pending(live)))
    notes = await restoration.run()
    return RestoreReport(
        found=True,
        study=snapshot.study,
        taken=snapshot.taken,
        fields=changed,
        overwritten=foreign if force else (),
        kept=(*foreign, *gone) if keep and not force else (),
        notes=notes,
    )


def _gone(live: Object, snapshot: Snapshot) -> tuple[str, ...]:
    """The fields we wrote that went with their container."""
    if fields.has_container(live, snapshot.container):
        return ()
    return tuple(sorted(set(fields.OF_CONTAINER) & snapshot.last.keys()))


async def _clean(client: Client, live: Object, patience_s: float) -> tuple[str, ...]:
    """Take what no original is in force for off a Deployment and its ReplicaSets; notes for the user."""
    stale = fields.ORIGINAL in annotations_of(live)
    if stale or id_in_force(live) is not None:
        metadata = live["metadata"]
        live = await guarded.change(
            client, metadata["namespace"], metadata["name"], _forgotten, content_type=MERGE, patience_s=patience_s
        )
    await copies.remove(client, live)
    return (f"an old copy of {fields.ORIGINAL}, as a rollout undo brings it back, was removed",) if stale else ()


def _forgotten(live: Object) -> Object | None:
    return None if stored(live) is not None else {"metadata": FORGOTTEN}


async def restore_leftover(
    client: Client,
    namespace: str,
    name: str,
    *,
    force: bool = False,
    keep: bool = False,
    patience_s: float = _PATIENCE_S,
) -> RestoreReport:
    """Restore what a study left whose process is gone, and remove its Lease; a process of it that still runs stops."""
    report = await restore(client, namespace, name, force=force, keep=keep, patience_s=patience_s)
    if report.study is not None:
        await forget(client, namespace, name, report.study)
    return report


async def settle(
    client: Client, namespace: str, name: str, kept: Collection[str], *, patience_s: float = _PATIENCE_S
) -> None:
    """End a change for good: the fields in `kept` stay as we wrote them and ours; the others and the annotation go."""

    def decide(live: Object) -> Object | None:
        found = stored(live)
        return None if found is None else {"metadata": found.keeping(kept).metadata}

    # From here on a restore finishes the change rather than undo it.
    snapshot = stored(await guarded.change(client, namespace, name, decide, patience_s=patience_s))
    if snapshot is not None:
        await _Restoration(client, namespace, name, snapshot, keep=True, patience_s=patience_s).run()


async def take_back(client: Client, namespace: str, name: str, snapshot: Snapshot) -> None:
    """Undo the write that `snapshot` describes, also where the Deployment does not carry it."""
    await _Restoration(client, namespace, name, snapshot, carried=False).run()


async def recover(client: Client, written: Object) -> None:
    """Put back what `written`, an answer to a write of ours, changed where that runs and its original was taken off."""
    snapshot, metadata = stored(written), written["metadata"]
    live = await client.get(DEPLOYMENTS, metadata["namespace"], metadata["name"], patience_s=_PATIENCE_S)
    if snapshot is None or live["metadata"]["uid"] != metadata["uid"]:
        return
    values = fields.read(live, snapshot.container, snapshot.temporary)
    if any(value == snapshot.last[name] != snapshot.original.get(name) for name, value in values.items()):
        await take_back(client, metadata["namespace"], metadata["name"], snapshot)


class _Restoration:
    """One run of the four steps. `carried`: the Deployment carries the snapshot, in force, until the last of them."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        snapshot: Snapshot,
        *,
        force: bool = False,
        keep: bool = False,
        carried: bool = True,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._client, self._namespace, self._name = client, namespace, name
        self._snapshot = snapshot
        self._force, self._keep, self._carried, self._patience_s = force, keep, carried, patience_s

    async def run(self) -> tuple[str, ...]:
        """All four steps; notes for the user."""
        deployment = await self._change(self._template)
        notes = await self._pods_gone(deployment)
        await replicas.prune(self._client, deployment)
        await self._change(self._rest)
        deployment = await guarded.change(
            self._client,
            self._namespace,
            self._name,
            self._ownership,
            content_type=MERGE,
            patience_s=self._patience_s,
        )
        await copies.remove(self._client, deployment)
        stays = self._snapshot.kept
        return (*notes, f"{', '.join(stays)}: the winner that was applied stays") if stays else notes

    def foreign(self, live: Object) -> tuple[str, ...]:
        """Fields that hold neither the original nor what we wrote last."""
        return foreign(live, self._snapshot)

    def pending(self, live: Object) -> Fields:
        """What is to be written: every field that we wrote and that is not original now."""
        snapshot = self._snapshot
        values = fields.read(live, snapshot.container, snapshot.temporary)
        others = self.foreign(live)
        if others and not (self._force or self._keep):
            raise Refused(self._explain(values, others))
        left = () if self._force else others
        return {
            n: snapshot.original.get(n) for n, v in values.items() if v != snapshot.original.get(n) and n not in left
        }

    async def _change(self, decide: Callable[[Object], Object | None]) -> Object:
        return await guarded.change(self._client, self._namespace, self._name, decide, patience_s=self._patience_s)

    def _template(self, live: Object) -> Object | None:
        values = self.pending(live)
        later = {fields.STRATEGY, fields.HISTORY}
        now = {name: value for name, value in values.items() if name not in later}
        return fields.patch(self._snapshot.container, now) or None

    def _rest(self, live: Object) -> Object | None:
        return fields.patch(self._snapshot.container, self.pending(live)) or None

    def _ownership(self, live: Object) -> Object | None:
        if self._carried and id_in_force(live) != self._snapshot.id:
            return None  # another process has finished it
        paths = fields.owned_paths(self._snapshot.container, self._snapshot.temporary)
        kept = fields.owned_paths(self._snapshot.container, self._snapshot.kept)
        today = live["metadata"].get("managedFields") or []
        owners = ownership.give_back(self._snapshot.owners, today, paths, kept)
        return {"metadata": {**FORGOTTEN, "managedFields": owners}}

    async def _pods_gone(self, deployment: Object) -> tuple[str, ...]:
        """Wait until the pods of other templates are gone: only then may the strategy go back."""
        spec = deployment["spec"]
        grace = spec["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        # A controller that has not seen the change yet has not begun to act on it; after an outage that takes minutes.
        limit = time.monotonic() + self._patience_s
        seen = False
        generation = deployment["metadata"]["generation"]
        while not spec.get("paused"):
            live = await self._client.get(DEPLOYMENTS, self._namespace, self._name, patience_s=self._patience_s)
            observed = live.get("status", {}).get("observedGeneration", 0) >= generation
            if observed and not await replicas.old_pods(self._client, live, patience_s=self._patience_s):
                return ()
            if observed and not seen:
                seen, limit = True, time.monotonic() + grace + 60.0
            if time.monotonic() > limit:
                return ("the pod of the last trial has not ended yet; a single GPU may stay taken until it has",)
            await asyncio.sleep(_POLL_S)
        return ("the Deployment is paused: its pods change when it is resumed",)

    def _explain(self, values: Fields, others: tuple[str, ...]) -> str:
        snapshot = self._snapshot
        diffs = [diff(name, snapshot.last[name], values[name], "written by tuner", "now") for name in others]
        diffs += [diff(name, values[name], snapshot.original.get(name), "now", "original") for name in others]
        return (
            f"{self._name}: {', '.join(others)} changed by somebody else since the study {snapshot.study} wrote it; "
            "nothing was restored. With --force the original replaces the change, with --keep the change stays.\n"
            + "\n".join(diffs)
        )


def foreign(live: Object, snapshot: Snapshot) -> tuple[str, ...]:
    """Fields we wrote that hold neither the original nor what we wrote last, sorted."""
    values = fields.read(live, snapshot.container, snapshot.temporary)
    return tuple(
        sorted(
            name
            for name, value in values.items()
            # The mark of a start is ours alone.
            if name != fields.START and value not in (snapshot.original.get(name), snapshot.last[name])
        )
    )
