"""How long prompts and answers are: drawn from distributions, or from pairs as they were counted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Protocol

import numpy as np

from tuner.core.errors import InvalidInput
from tuner.core.workload import Lengths, Pair, Workload
from tuner.probe.workload.reading import numbered_lines, parse_table, short, whole

_COLUMNS = ("prompt", "output")
_WEIGHT = "weight"
#: What is drawn from a distribution lies within so many standard deviations.
MOST_SIGMA = 3.0
_Tokens = tuple[int, int]  # of a prompt, of its answer


class LengthSource(Protocol):
    """Where pairs of lengths come from. Means are of all that may be drawn."""

    @property
    def mean_prompt(self) -> float:
        """Expected tokens of a prompt."""
        ...

    @property
    def mean_output(self) -> float:
        """Expected tokens of an answer."""
        ...

    @property
    def most_output(self) -> int:
        """Tokens of the longest answer that there may be."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> list[_Tokens]:
        """`n` pairs; the first ones of a longer draw are those of a shorter one."""
        ...

    def longest(self, n: int, quantile: float) -> list[_Tokens]:
        """`n` pairs as long as this quantile (below 1) of all, the longest one first."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Prompts and answers that know nothing of each other, each with a distribution cut at three deviations."""

    prompt: Lengths
    output: Lengths

    @property
    def mean_prompt(self) -> float:
        """The mean as stated."""
        return float(self.prompt.mean)

    @property
    def mean_output(self) -> float:
        """The mean as stated."""
        return float(self.output.mean)

    @property
    def most_output(self) -> int:
        """Three deviations above."""
        return self.output.at(MOST_SIGMA)

    def draw(self, n: int, rng: np.random.Generator) -> list[_Tokens]:
        """By normal numbers, in pairs."""
        normal = np.clip(rng.standard_normal((n, 2)), -MOST_SIGMA, MOST_SIGMA).tolist()
        return [(self.prompt.at(prompt), self.output.at(output)) for prompt, output in normal]

    def longest(self, n: int, quantile: float) -> list[_Tokens]:
        """Each as long as this quantile of its own."""
        z = NormalDist().inv_cdf(quantile)
        return [(self.prompt.at(z), self.output.at(z))] * n


@dataclass(frozen=True)
class Counted:
    """Pairs of a prompt and its answer, each as often as its weight says."""

    pairs: tuple[Pair, ...]

    @property
    def mean_prompt(self) -> float:
        """The weighted mean."""
        return float(np.average([pair.prompt for pair in self.pairs], weights=self._weights))

    @property
    def mean_output(self) -> float:
        """The weighted mean."""
        return float(np.average([pair.output for pair in self.pairs], weights=self._weights))

    @property
    def most_output(self) -> int:
        """The longest that was counted."""
        return max(pair.output for pair in self.pairs)

    def draw(self, n: int, rng: np.random.Generator) -> list[_Tokens]:
        """With replacement."""
        ends = np.cumsum(self._weights)
        found = np.searchsorted(ends, rng.random(n) * ends[-1], side="right").tolist()
        return [(self.pairs[index].prompt, self.pairs[index].output) for index in found]

    def longest(self, n: int, quantile: float) -> list[_Tokens]:
        """Those above this quantile by their sum, in turn."""
        order = sorted(self.pairs, key=lambda pair: -(pair.prompt + pair.output))
        before = accumulate((pair.weight for pair in order), initial=0.0)
        share = (1 - quantile) * sum(self._weights)
        keep = [(pair.prompt, pair.output) for pair, weight in zip(order, before, strict=False) if weight <= share]
        return [keep[index % len(keep)] for index in range(n)]

    @property
    def _weights(self) -> list[float]:
        return [pair.weight for pair in self.pairs]


def lengths_of(workload: Workload) -> LengthSource:
    """Where the lengths of a workload's synthetic prompts come from."""
    return Counted(workload.pairs) if workload.pairs else Drawn(workload.prompt, workload.output)


def summary(tokens: Sequence[int], weights: Sequence[float] | None = None) -> Lengths:
    """Mean and spread of lengths, where no more of them is wanted: by a planner, or to be told."""
    mean = float(np.average(tokens, weights=weights))
    variance = float(np.average((np.array(tokens) - mean) ** 2, weights=weights))
    return Lengths(max(1, round(mean)), math.sqrt(variance) / mean)


def read_pairs(path: str) -> tuple[Pair, ...]:
    """Read a CSV of lengths: columns prompt and output (tokens), and perhaps weight (how often, 1 unless given).

    Equal pairs become one, so a list of requests and a histogram are read alike. Raises InvalidInput with file:line of
    up to ten mistakes.
    """
    lines = numbered_lines(path, f"a CSV file with the columns {', '.join(_COLUMNS)} and perhaps {_WEIGHT}")
    weights: dict[_Tokens, float] = defaultdict(float)
    for pair in parse_table(path, lines, _COLUMNS, _pair):
        weights[pair.prompt, pair.output] += pair.weight
    if not weights:
        raise InvalidInput(f"{path}: holds no lengths; allowed: a line for each, e.g. 512,128")
    return tuple(Pair(prompt, output, weight) for (prompt, output), weight in weights.items())


def _pair(row: Mapping[str, str]) -> Pair:
    return Pair(whole("prompt", row["prompt"]), whole("output", row["output"]), _weight(row.get(_WEIGHT, "1")))


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"{_WEIGHT} is {short(text)}; allowed: a number over 0")
    return weight
