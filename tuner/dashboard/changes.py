"""Changes of live Deployments that somebody began on a page: at work behind it, followed by whoever looks."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from hashlib import sha256

from tuner.core.errors import Refused, TunerError
from tuner.core.redact import redact
from tuner.core.undisturbed import undisturbed
from tuner.dashboard.access import Visitor
from tuner.store import Decision, Store
from tuner.study.adoption import Adoption
from tuner.study.cluster import Cluster
from tuner.study.reversal import Reversal
from tuner.study.winner import Winner

#: The longest that an engine may take to start with new settings, as of `tuner apply`.
DEADLINE_S = 20 * 60.0
#: So many studies' newest changes are remembered; what became of the others is on record.
_REMEMBERED = 100
_NOT_BEGUN = "the dashboard was stopped before anything was changed"
_LOG = logging.getLogger(__name__)


class Kind(StrEnum):
    """What is done with a winner."""

    APPLY = "apply"
    UNDO = "undo"

    @property
    def decision(self) -> Decision:
        """What is put on record when it is done."""
        return Decision.APPLIED if self is Kind.APPLY else Decision.UNDONE

    def open(self, winner: Winner, cluster: Cluster) -> AbstractAsyncContextManager[Adoption]:
        """The change itself."""
        return (Adoption if self is Kind.APPLY else Reversal).open(winner, cluster)


@dataclass
class Change:
    """One change: what it has said so far, and how it ended (`done`, or an `error`; the other is empty).

    `target` is the Deployment, as namespace/name. `made` says that it runs there now, whatever went wrong afterwards.
    """

    study_id: int
    target: str
    kind: Kind
    who: Visitor
    began: datetime
    lines: list[str] = field(default_factory=list)
    made: bool = False
    over: bool = False
    done: str = ""
    error: str = ""
    took_s: float = 0.0

    @property
    def decision(self) -> Decision:
        """What is put on record."""
        return self.kind.decision if self.made else Decision.FAILED

    @property
    def comment(self) -> str:
        """What is put on record with it."""
        return f"after {self.took_s:.0f} s" if self.made else f"{self.kind.value}: {self.error}"


def mark(diff: str) -> str:
    """What a shown diff is recognised by, so that no other one is made."""
    return sha256(diff.encode()).hexdigest()


class Changes:
    """The changes that were begun here, the newest of each study. One at a time for a Deployment."""

    def __init__(self, store: Store, cluster: Cluster) -> None:
        self._store = store
        self._cluster = cluster
        self._newest: dict[int, Change] = {}  # in the order in which they were begun
        self._under_way: dict[str, Change] = {}  # by Deployment: several studies may be of one
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, study_id: int) -> Change | None:
        """The newest change that was made for a study, or tried; None also where that is too long ago."""
        return self._newest.get(study_id)

    async def preview(self, winner: Winner, kind: Kind) -> tuple[str | None, str]:
        """The diff (None where there is nothing to change), and `Adoption.caution`. Raises what its `preview` does."""
        async with kind.open(winner, self._cluster) as adoption:
            return await adoption.preview(), adoption.caution

    def begin(self, study_id: int, winner: Winner, kind: Kind, seen: str, who: Visitor) -> Change:
        """Begin it. `seen` is the mark of the diff that was shown: another one is not made.

        Raises Refused where a change of this Deployment is under way, be it for another study.
        """
        target = f"{winner.namespace}/{winner.deployment}"
        before = self._under_way.get(target)
        if before is not None:
            raise Refused(f"{before.who.name} is changing this Deployment already; one change of {target} at a time")
        change = Change(study_id, target, kind, who, datetime.now(UTC))
        self._under_way[target] = change
        self._remember(change)
        task = asyncio.create_task(self._run(change, winner, seen))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, change))
        return change

    async def close(self) -> None:
        """End what is under way: it is undone, and on record, before this returns."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await undisturbed(_all(set(self._tasks)))

    def _remember(self, change: Change) -> None:
        self._newest.pop(change.study_id, None)
        self._newest[change.study_id] = change
        ended = [study_id for study_id, one in self._newest.items() if one.over]
        for study_id in ended[: max(0, len(self._newest) - _REMEMBERED)]:
            del self._newest[study_id]

    def _end(self, change: Change, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        del self._under_way[change.target]
        if not change.made and not change.error:  # cancelled before its first step
            change.error = _NOT_BEGUN
        change.over = True

    async def _run(self, change: Change, winner: Winner, seen: str) -> None:
        """Two steps, so that a change which was made is never told as one which was not: make it, put it on record."""
        try:
            await self._make(change, winner, seen)
        except asyncio.CancelledError:  # goes no further: what follows is short, and `close` waits for it
            change.error = change.error or _stopped(change)
        except Exception as error:  # whoever looks must be told, whatever it was
            said = redact(_words(error))
            change.error = f"it was made, but then: {said}" if change.made else said
        try:
            await undisturbed(asyncio.to_thread(self._record, change))
        except Exception as error:
            before = f"{change.error}\n" if change.error else "it was made, but "
            change.error = f"{before}it is not on record: {_words(error)}"

    async def _make(self, change: Change, winner: Winner, seen: str) -> None:
        async with change.kind.open(winner, self._cluster) as adoption:
            diff = await adoption.preview()
            if diff is None or mark(diff) != seen:
                raise Refused("the Deployment has changed since the difference was shown; look at it again")
            try:
                change.took_s = await adoption.apply(DEADLINE_S, change.lines.append)
            except TunerError as error:  # its word stands, though a cancellation may come while connections are closed
                change.error = redact(str(error))
                raise
            change.made, change.done = True, adoption.done

    def _record(self, change: Change) -> None:
        who, now = change.who, datetime.now(UTC)
        add = self._store.reviews.add
        add(change.study_id, change.decision, change.comment, who.name, now, vouched=who.vouched)


def _stopped(change: Change) -> str:
    """What a cancellation came to. The first line is said right before the first write, and not earlier."""
    if change.made:
        return ""
    if not change.lines:
        return _NOT_BEGUN
    return f"the dashboard was stopped; the change was undone: {change.target} runs what it ran before"


def _words(error: Exception) -> str:
    if isinstance(error, TunerError):
        return str(error)
    _LOG.error("a change of a Deployment met a mistake in the dashboard", exc_info=error)
    return f"{type(error).__name__}: {error}"


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
