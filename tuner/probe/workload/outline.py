"""Requests before they are planned: what they consist of, and who says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from tuner.core.request import Message, Span
from tuner.core.workload import Load, Workload
from tuner.probe.workload.dice import Dice
from tuner.probe.workload.lengths import LengthSource

T = TypeVar("T")


@dataclass(frozen=True)
class Outline:
    """A request but for its schedule, and for its text where that is still to be written (None).

    `messages` as in PlannedRequest.
    """

    prompt_tokens: int
    output_tokens: int
    prefix: tuple[Span, ...] = ()
    text: str | None = None
    after: int | None = None
    messages: tuple[Message, ...] = ()


class Source(Protocol):
    """Where a workload's requests come from. Means are of all that there may be, not of those that were drawn."""

    #: Whether texts have to be written, rather than being the user's own.
    synthetic: ClassVar[bool]

    @property
    def mean_prompt_tokens(self) -> float:
        """Expected prompt tokens of one request, those of a prefix among them."""
        ...

    @property
    def mean_output_tokens(self) -> float:
        """Expected output tokens of one request."""
        ...

    @property
    def most_output_tokens(self) -> int:
        """Output tokens of the longest answer that there may be."""
        ...

    @property
    def largest(self) -> tuple[int, int]:
        """Prompt and output tokens of what an engine must have room for (of drawn lengths: the 99th percentile)."""
        ...

    def draw(self, n: int, dice: Dice, load: Load) -> list[Outline]:
        """The next level's `n` requests, for this load."""
        ...

    def longest(self, n: int, quantile: float, dice: Dice) -> list[Outline]:
        """`n` requests as long as this quantile of all, the longest one first."""
        ...


@dataclass(frozen=True)
class Written:
    """What sources have in common whose prompts are made up: texts to be written, answers by drawn lengths."""

    workload: Workload
    lengths: LengthSource
    synthetic: ClassVar[bool] = True

    @property
    def mean_output_tokens(self) -> float:
        """By the lengths."""
        return self.lengths.mean_output

    @property
    def most_output_tokens(self) -> int:
        """By the lengths."""
        return self.lengths.most_output


def above(quantile: float, longest_first: Sequence[T]) -> Sequence[T]:
    """Those above a quantile (below 1) of what is ordered with the longest first; at least one."""
    return longest_first[: max(1, math.ceil(len(longest_first) * (1 - quantile)))]
