"""How much each knob mattered among the trials of a study, and nothing about knobs that chance explains as well.

The trials are ranked, those that broke an SLO or failed below all that met them, and each knob's settings are put into
groups. A knob's share is how much of the variance of the ranks lies between its groups, less what groups of that number
take by chance (epsilon squared of an analysis of variance by ranks). The ranks are then dealt out anew many times: a
share counts only above nearly all of the largest shares found there, so that many knobs are no more likely to raise a
false one than few. What knobs do only together is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.core.knob import Value
from tuner.core.measurement import Verdict

#: With fewer trials, any answer would be made up.
LEAST_TRIALS = 6
_SHUFFLES = 200
_ABOVE = 0.95  # of the largest shares of shuffled ranks
_MOST_GROUPS = 6  # of numbers: enough to see an optimum in the middle
_SEED = 1

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """The shares of the differences in rank that go with the knobs that stand out, of the `knobs` that were turned.

    Shares do not add up to 1: what is missing is noise, and what knobs do only together. `caution` says when no knob
    stands out, and `shares` is empty then.
    """

    shares: Mapping[str, float]
    trials: int
    knobs: Sequence[str]
    caution: str = ""


def importance(seen: Sequence[tuple[Mapping[str, Value], Verdict]]) -> Importance | None:
    """The importance of the knobs that took several values; None where there are too few trials, or nothing differed.

    `seen` are the settings of each trial, every knob that was turned among them, and what came of it. The same trials
    have the same answer.
    """
    turned = [name for name in _common(seen) if len({settings[name] for settings, _ in seen}) > 1]
    if len(seen) < LEAST_TRIALS or not turned or len({verdict.rank for _, verdict in seen}) < 2:
        return None
    groups = [_groups([settings[name] for settings, _ in seen]) for name in turned]
    ranks = _ranks([verdict for _, verdict in seen])
    shuffled = np.random.default_rng(_SEED).permuted(np.tile(ranks, (_SHUFFLES, 1)), axis=1)
    chance = np.max([_shares(group, shuffled) for group in groups], axis=0)
    least = max(0.0, float(np.quantile(chance, _ABOVE)))
    found = {name: float(_shares(group, ranks[None])[0]) for name, group in zip(turned, groups, strict=True)}
    shares = {name: share for name, share in found.items() if share > least}
    return Importance(shares, len(seen), turned, "" if shares else f"No knob stands out among {len(seen)} trials.")


def _common(seen: Sequence[tuple[Mapping[str, Value], Verdict]]) -> list[str]:
    return [name for name in (seen[0][0] if seen else ()) if all(name in settings for settings, _ in seen)]


def _ranks(verdicts: Sequence[Verdict]) -> _Floats:
    """Places from 0, the worst; those who are alike share the mean of theirs. Centred, so that they add up to 0."""
    order = {rank: at for at, rank in enumerate(sorted({verdict.rank for verdict in verdicts}))}
    _, place, count = np.unique([order[verdict.rank] for verdict in verdicts], return_inverse=True, return_counts=True)
    mean = np.cumsum(count) - (count + 1) / 2
    return np.asarray(mean[place] - (len(verdicts) - 1) / 2, np.float64)


def _groups(values: Sequence[Value]) -> _Floats:
    """Which trial is in which group: a row of ones and zeros for each trial."""
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    keys: NDArray[np.generic] = np.array(numbers if len(numbers) == len(values) else [str(value) for value in values])
    different, at = np.unique(keys, return_inverse=True)
    if len(numbers) == len(values) and len(different) > _MOST_GROUPS:
        edges = np.unique(np.quantile(keys.astype(np.float64), np.linspace(0, 1, _MOST_GROUPS + 1)[1:-1]))
        different, at = np.unique(np.searchsorted(edges, keys.astype(np.float64)), return_inverse=True)
    return np.eye(len(different))[at]


def _shares(groups: _Floats, ranks: _Floats) -> _Floats:
    """For each row of centred ranks, the share of their variance that lies between the groups, less that of chance."""
    trials, count = groups.shape
    between = ((ranks @ groups) ** 2 / groups.sum(axis=0)).sum(axis=1)
    share = between / (ranks**2).sum(axis=1)
    return np.asarray((share * (trials - 1) - (count - 1)) / max(1, trials - count), np.float64)
