"""Looks at a level while it runs, and what certainty each of them costs.

A test that is looked at several times errs at some look with more than its nominal probability. The looks are therefore
planned before the level, and each may use up a part of the 5 % only (alpha spending, Lan & DeMets 1983, with the linear
spending function alpha(t) = alpha * t of Kim & DeMets 1987). Parts are added up by Bonferroni's inequality instead of
the joint distribution of the looks: that holds for dependent observations too, and costs little as the last look keeps
half. PASS and FAIL spend separately; looks too early for any PASS do not spend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

ALPHA = 0.05
_FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
_FIRST_LOOK = 20


@dataclass(frozen=True)
class Look:
    """One planned look: after `count` measured requests, with this much to spend on each answer."""

    count: int
    pass_alpha: float
    fail_alpha: float


@dataclass(frozen=True)
class Looks:
    """All looks of one level, in ascending order; the last one is at its end."""

    looks: tuple[Look, ...]

    @classmethod
    def plan(cls, count: int, first_pass: int) -> Looks:
        """Looks for a level of at most `count` measured requests, where fewer than `first_pass` could never pass."""
        counts = sorted(
            {round(count * fraction) for fraction in _FRACTIONS if count * fraction >= _FIRST_LOOK} | {count}
        )
        passing = [n for n in counts if n >= first_pass] or [count]
        return cls(tuple(Look(n, _spent(n, passing), _spent(n, counts)) for n in counts))

    @property
    def last(self) -> Look:
        """The look at the end of the level."""
        return self.looks[-1]


def _spent(count: int, counts: list[int]) -> float:
    if count not in counts:
        return 0.0
    position = counts.index(count)
    before = counts[position - 1] if position else 0
    return ALPHA * (count - before) / counts[-1]
