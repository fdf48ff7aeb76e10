"""Random search under the same contract: the yardstick that a sampler has to beat."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.search import drawing
from tuner.search.sampler import Suggestion
from tuner.search.space import Space


class RandomSampler:
    """Draws evenly over the values worth trying, without repeats, and learns nothing. Implements the Sampler protocol.

    Its memory is its own: a study that is to be resumed hands in as `history` what was suggested so far, in order, and
    tickets count from there. Adopted candidates have negative tickets.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        first: Sequence[tuple[Candidate, str]] = (),
        history: Sequence[Candidate] = (),
    ) -> None:
        self._space = space
        self._seed = seed
        self._first = [(space.repair(candidate), reason) for candidate, reason in first]
        self._suggested: list[Candidate] = list(history)
        self._adopted: list[Candidate] = []
        self._open: set[int] = set()

    def suggest(self) -> Suggestion | None:
        """The next candidate, or None when the space is exhausted."""
        seen = {candidate.key for candidate in (*self._suggested, *self._adopted)}
        for candidate, reason in self._first:
            if candidate.key not in seen:
                return self._enter(candidate, reason)
        if not self._space.knobs:
            return None
        rng = random.Random(f"{self._seed}:{len(self._suggested)}")
        drawn = drawing.evenly(self._space, rng, seen)
        return self._enter(drawn, "drawn at random") if drawn else None

    def tell(self, ticket: int, verdict: Verdict) -> None:  # noqa: ARG002
        """Close a suggestion; nothing is learnt."""
        self.skip(ticket)

    def skip(self, ticket: int) -> None:
        """Close a suggestion."""
        if not -len(self._adopted) <= ticket < len(self._suggested):
            raise LookupError(f"no suggestion has ticket {ticket}")
        self._open.discard(ticket)

    def adopt(self, candidate: Candidate) -> int:
        """Enter a candidate from elsewhere; the same one again returns the same ticket."""
        explicit = self._space.complete(candidate)
        if explicit in self._suggested:
            return self._suggested.index(explicit)
        if explicit not in self._adopted:
            self._adopted.append(explicit)
        return -1 - self._adopted.index(explicit)

    def close_stale(self, tickets: Collection[int]) -> None:
        """Forget open suggestions that are not on record; their tickets stay taken."""
        for ticket in self._open - set(tickets):
            self._open.discard(ticket)

    def _enter(self, candidate: Candidate, reason: str) -> Suggestion:
        self._suggested.append(candidate)
        ticket = len(self._suggested) - 1
        self._open.add(ticket)
        return Suggestion(candidate, ticket, reason)
