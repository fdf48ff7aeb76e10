"""Looks at a level while it runs, and what certainty each of them costs.

A test that is looked at several times errs at some look with more than its nominal probability. The looks are therefore
planned before the level, and each may use up a part of the 5 % only (alpha spending, Lan & DeMets 1983, with the
spending function alpha(t) = alpha * t^2 of Kim & DeMets 1987, t being the share of what will be measured that is seen).
Parts are added up by Bonferroni's inequality instead of the joint distribution of the looks: that holds for dependent
observations too, and costs little as looks spend only when what is due has doubled, and keep half for the last one.
PASS and FAIL spend separately; looks that can't pass (too early, or the engine is not steady) do not spend on it.

PASS spends 4 %: how alike requests are is estimated too, and what that estimate misses gets the rest of the 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass

ALPHA = 0.05
#: What all looks of a level may spend on PASS, and on FAIL.
ON_PASS, ON_FAIL = 0.04, ALPHA
_KEPT = 0.5
_FIRST_LOOK = 20
_GROWTH = 0.25
_STEP = 1 / 20


@dataclass(frozen=True)
class Look:
    """What one look may spend on each answer."""

    pass_alpha: float
    fail_alpha: float


@dataclass
class Spending:
    """What the looks of one level have spent so far."""

    _on_pass: float = 0.0
    _on_fail: float = 0.0

    def look(self, share: float, *, may_pass: bool) -> Look:
        """A look at this `share` of what the level will measure; 1 at its end."""
        on_pass = _due(ON_PASS, share, self._on_pass) if may_pass else 0.0
        look = Look(on_pass, _due(ON_FAIL, share, self._on_fail))
        self._on_pass += look.pass_alpha
        self._on_fail += look.fail_alpha
        return look


def _due(alpha: float, share: float, spent: float) -> float:
    due = alpha * min(1.0, share) ** 2
    return due - spent if share >= 1 or 2 * spent <= due <= alpha * _KEPT else 0.0


def looks_of(warmup: int, count: int, most: int) -> tuple[int, ...]:
    """After how many ended requests of at most `most` a level is looked at, where it measures `count` after `warmup`.

    At the first look the warm-up has ended too, and about as many again are still in flight.
    """
    seen = float(_FIRST_LOOK)
    looks = []
    while 2 * warmup + round(seen) < most:
        looks.append(2 * warmup + round(seen))
        seen += min(_GROWTH * seen, max(1.0, count * _STEP))
    return tuple(looks)
