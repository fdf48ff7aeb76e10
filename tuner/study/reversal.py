"""The way back from a winner that was applied, to what ran before.

The lists of before, to the letter, are in the Deployment's own history: a revision that has the baseline's flags, and
that becomes what runs now when the winner's flags are put into it, is the one that the winner was applied to. So
nothing has to be kept for it. A copy in the database or in an annotation would be one more place for what may be a
secret (--api-key); an annotation would come back with `kubectl rollout undo`, too, when it is no longer true; and
neither would be there where somebody applied an exported patch with kubectl. Where no such revision is left, or the
lists were changed since beside the winner's flags, the edit is reversed: the same flags, perhaps in another place.
"""

from __future__ import annotations

from tuner.core.errors import InvalidInput, Refused
from tuner.core.knob import Candidate
from tuner.study.adoption import Adoption
from tuner.study.winner import Winner
from tuner.targets.kubernetes import changes, fields, replicas
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.discover import recognise
from tuner.targets.kubernetes.fields import Fields, Object
from tuner.targets.kubernetes.inspection import Inspection

_LISTS = (fields.COMMAND, fields.ARGS)
_INEXACT = (
    "No revision in its history explains these lists: the flags are set back, perhaps in another place than before."
)
_REVISION = "deployment.kubernetes.io/revision"


class Reversal(Adoption):
    """The change back: as an Adoption, but for what is wanted and where it is allowed."""

    @property
    def caution(self) -> str:
        return "" if self._lists is not None else _INEXACT

    @property
    def question(self) -> str:
        return "Take the winner back?"

    @property
    def done(self) -> str:
        what = "what it ran" if self._lists is not None else "the flags that it ran with"
        return f"{self.winner.deployment} runs {what} before the winner of study {self.winner.study}"

    @property
    def wanted(self) -> Candidate:
        """What ran before the winner."""
        return self.winner.baseline

    async def _look(self) -> str | None:
        """The diff. Raises Refused where something else than the winner runs now, with its name."""
        winner, target, self._lists = self.winner, self._target, None
        info = await target.inspect()
        if target.preview(winner.baseline) is None:
            return None
        if target.preview(winner.candidate) is not None:
            raise Refused(
                f"Deployment {winner.deployment} does not run the winner of study {winner.study}, so there is nothing "
                f"to undo: the winner is {winner.candidate}, and it runs {info.baseline} now"
            )
        self._lists = await lists_before(self._client, target.seen, winner)
        return target.preview(winner.baseline, self._lists)


async def lists_before(client: Client, seen: Inspection, winner: Winner) -> Fields | None:
    """Command and args that the winner was put into, by the newest revision that explains what runs now."""
    name = seen.container.name
    now = fields.read(seen.deployment, name, _LISTS)
    history = await replicas.replicasets(client, seen.deployment)
    for replicaset in sorted(history, key=_age, reverse=True):
        if _with_winner(replicaset, seen, winner) == now:
            return fields.read(replicaset, name, _LISTS)
    return None


def _age(replicaset: Object) -> tuple[int, str]:
    """Orders revisions: one that ran again has a new number, but its first date."""
    metadata = replicaset["metadata"]
    return int((metadata.get("annotations") or {}).get(_REVISION, 0)), str(metadata.get("creationTimestamp"))


def _with_winner(replicaset: Object, seen: Inspection, winner: Winner) -> Fields | None:
    """A revision's lists with the winner's flags put into them; None where it did not run the baseline."""
    engine = seen.engine
    found = recognise(replicaset, [engine])
    if found is None or found.container is None or found.container.name != seen.container.name:
        return None
    try:
        flags, settings = engine.read(found.container.readable)
        if flags != winner.baseline:
            return None
        edits = engine.spell(winner.candidate, flags, fixed=settings, version=seen.version)
        values = changes.for_start(replicaset, found.container.name, engine.syntax(), edits, deadline_s=0.0)
    except (InvalidInput, Refused):  # a revision of long ago may have anything in it
        return None
    return {name: values[name] for name in _LISTS}
