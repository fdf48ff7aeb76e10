"""The contract of a sampler: it suggests candidates and learns from verdicts. A better one can take its place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict


@dataclass(frozen=True)
class Suggestion:
    """One candidate to try. `ticket` is the sampler's own handle, stored with the trial so that a resume can tell it.

    `reason` says in a few words why this one ("simulator's 2nd choice", "TPE"), for the user to read.
    """

    candidate: Candidate
    ticket: int
    reason: str


class Sampler(Protocol):
    """Suggests candidates one at a time and is told what each taught.

    Contract: a suggestion always satisfies the space (conditions, relations, gates); none is made twice in a study,
    nor one that was adopted; `tell` is idempotent per ticket (a resume may repeat it); the same seed and history give
    the same suggestions. Each suggestion ends by exactly one of `tell` and `skip`.
    """

    def suggest(self) -> Suggestion | None:
        """The next candidate, or None when the space is exhausted."""
        ...

    def tell(self, ticket: int, verdict: Verdict) -> None:
        """Teach the outcome of a measured or failed trial: value where feasible, graded violations always."""
        ...

    def skip(self, ticket: int) -> None:
        """Close a suggestion that was screened or failed by infrastructure: nothing is learnt, it is not made again."""
        ...

    def adopt(self, candidate: Candidate) -> int:
        """Enter a candidate that the sampler did not suggest (the baseline); returns its ticket to tell about.

        Idempotent per candidate, because a resume may repeat it. Values outside the space are taken as they are.
        """
        ...

    def close_stale(self, tickets: Collection[int]) -> None:
        """Close open suggestions whose ticket is not among `tickets`: a killed run made them, nobody will tell them."""
        ...
