"""The way back from a winner that was applied, to what ran before.

The lists of before, to the letter, are in the Deployment's own history: a revision that has the baseline's flags, and
that becomes what runs now when the winner's flags are put into it, is the one that the winner was applied to. So
nothing has to be kept for it. A copy in the database or in an annotation would be one more place for what may be a
secret (--api-key); an annotation would come back with `kubectl rollout undo`, too, when it is no longer true; and
neither would be there where somebody applied an exported patch with kubectl. Where no such revision is left, or the
lists were changed since beside the winner's flags, the edit is reversed: the same flags, perhaps in another place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tuner.core.errors import InvalidInput, Refused
from tuner.core.knob import Candidate
from tuner.study.access import Access
from tuner.study.adoption import Adoption, target_of
from tuner.study.winner import Winner
from tuner.targets.kubernetes import changes, fields, replicas
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.discover import recognise
from tuner.targets.kubernetes.fields import Fields, Object
from tuner.targets.kubernetes.inspection import Inspection

_LISTS = (fields.COMMAND, fields.ARGS)
_REVISION = "deployment.kubernetes.io/revision"


class Reversal(Adoption):
    """The change back: as an Adoption, but for what is wanted and where it is allowed.

    `exact`, after `preview`: whether the lists become what they were to the letter. Otherwise the flags are set back.
    """

    def __init__(self, winner: Winner, client: Client, target: _Remembering) -> None:
        super().__init__(winner, client, target)
        self._past = target
        self.exact = False

    @classmethod
    def _on(cls, winner: Winner, client: Client, access: Access) -> Self:
        return cls(winner, client, target_of(winner, client, access, _Remembering))

    @property
    def wanted(self) -> Candidate:
        """What ran before the winner."""
        return self.winner.baseline

    async def _look(self) -> str | None:
        """The diff. Raises Refused where something else than the winner runs now, with its name."""
        winner, info = self.winner, await self._past.inspect()
        if self._past.preview(winner.baseline) is None:
            return None
        if self._past.preview(winner.candidate) is not None:
            raise Refused(
                f"Deployment {winner.deployment} does not run the winner of study {winner.study}, so there is nothing "
                f"to undo: the winner is {winner.candidate}, and it runs {info.baseline} now"
            )
        lists = await lists_before(self._client, self._past.seen, winner)
        self.exact = lists is not None
        if lists is not None:
            self._past.remember(lists)
        return self._past.preview(winner.baseline)


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


@dataclass(frozen=True)
class _Remembered(Inspection):
    """A Deployment whose next start has these lists, and not those that editing today's would make."""

    lists: Fields

    def values(
        self, candidate: Candidate, deadline_s: float = 0.0, *, mark: str | None = None, prunes: bool = False
    ) -> Fields:
        return {**super().values(candidate, deadline_s, mark=mark, prunes=prunes), **self.lists}


class _Remembering(KubernetesTarget):
    """A target that can be given the lists of its next start."""

    @property
    def seen(self) -> Inspection:
        """As `inspect` found it."""
        return self._seen

    def remember(self, lists: Fields) -> None:
        """Have these lists in the next start, until `inspect` looks again."""
        self._inspected = _Remembered(**vars(self._seen), lists=lists)
