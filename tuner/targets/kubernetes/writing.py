"""Writing a candidate into a Deployment: its original beside it in the same patch, and nobody else's change lost."""

from __future__ import annotations

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import Refused
from tuner.targets.kubernetes import fields, guarded
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import Invalid
from tuner.targets.kubernetes.external import fail_if_changed
from tuner.targets.kubernetes.fields import Fields, Object
from tuner.targets.kubernetes.lease import Lease
from tuner.targets.kubernetes.restore import foreign, take_back
from tuner.targets.kubernetes.snapshot import Snapshot, check_size, stored

_REWRITES = "an admission webhook rewrites what the tuner sets"


class Writer:
    """Changes the Deployment `original` (as it was before a study) for `study`, while `lease` is held.

    `before` is the object as the last write of this process returned it; None: there was none.
    """

    def __init__(
        self, client: Client, original: Object, container: str, study: str, lease: Lease, before: Object | None
    ) -> None:
        self._client, self._original, self._container = client, original, container
        self._namespace, self._name = original["metadata"]["namespace"], original["metadata"]["name"]
        self._study, self._lease, self._before = study, lease, before

    async def write(self, values: Fields) -> Object:
        """Write the fields of a start and return the object as it is then.

        Raises Refused where the API server would not take them as they are, TrialFailed where somebody else changed
        what runs.
        """
        await self._lease.ensure()
        kept: list[Snapshot] = []

        def decide(live: Object) -> Object | None:
            self._lease.check()
            if self._is_there(live, values):
                return None  # the answer to an earlier try was lost, not the patch
            snapshot = self._snapshot(live)
            # What an earlier start wrote and this one does not need goes back to its original.
            wanted = {**{name: snapshot.original.get(name) for name in snapshot.last}, **values}
            wrote = snapshot.wrote(wanted)
            check_size(live, wrote.dumps())
            kept[:] = [wrote]
            return {"metadata": wrote.metadata, **fields.patch(self._container, wanted)}

        def check(answer: Object) -> None:
            if rewritten := self._rewritten(answer, values):
                raise Refused(f"{_REWRITES} ({rewritten}); it can't be tuned")

        try:
            written = await guarded.change(self._client, self._namespace, self._name, decide, check=check)
        except Invalid as error:
            raise Refused(f"the API server does not accept the change, nothing was changed: {error}") from error
        if rewritten := self._rewritten(written, values):
            # A webhook that leaves dry runs alone. What it made of our fields is nobody's change, and goes back.
            last = fields.read(written, self._container, kept[0].last)
            await take_back(self._client, self._namespace, self._name, kept[0].wrote(last))
            raise Refused(f"{_REWRITES} ({rewritten}), though not in dry runs; it was put back, and can't be tuned")
        return written

    def _rewritten(self, answer: Object, values: Fields) -> str:
        """The names of what the API server would store in another way than asked for; empty: nothing."""
        stays = fields.read(answer, self._container, values)
        altered = [name for name in values if stays[name] != values[name]]
        return ", ".join(altered + ([] if stored(answer) is not None else [fields.ORIGINAL]))

    def _is_there(self, live: Object, values: Fields) -> bool:
        """Whether `live` holds what we are about to write, by our own record of it."""
        found = stored(live)
        if found is None or found.study != self._study or not values.items() <= found.last.items():
            return False
        return fields.read(live, found.container, found.last) == found.last

    def _snapshot(self, live: Object) -> Snapshot:
        """What to restore to: what the Deployment carries already, else what it is now."""
        if self._before is not None:
            fail_if_changed(self._before, live)
        found = stored(live)
        if found is None:
            if self._before is not None:
                message = f"the annotation {fields.ORIGINAL} was removed during the study"
                raise TrialFailed(Failure(Cause.EXTERNAL_CHANGE, message))
            fail_if_changed(self._original, live, "after the study looked at it")
            return Snapshot.of(live, self._study, self._container)
        if found.study != self._study:
            raise Refused(f"the study {found.study} has changed {self._name} and not restored it")
        others = foreign(live, found)
        if others:
            message = f"{', '.join(others)} changed by somebody else since the study wrote it"
            raise TrialFailed(Failure(Cause.EXTERNAL_CHANGE, message))
        return found
