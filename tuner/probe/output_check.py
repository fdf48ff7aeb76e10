"""Whether a candidate still writes what the baseline writes: for knobs that may change the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.core.request import GreedyOutput

#: Fixed prompts of different kinds: prose, code, numbers, lists, another language.
PROMPTS = (
    "The history of the printing press begins in",
    "def binary_search(items, target):\n    ",
    "Question: A train travels 120 km in 1.5 hours. What is its average speed?\nAnswer:",
    "Translate to French: The weather is nice today, and we are going for a walk.\n",
    "1, 1, 2, 3, 5, 8, 13,",
    "Write a short poem about the sea.\n",
    "The three primary colours are",
    'Return JSON with the fields "name" and "age" for a person called Ada who is 36:\n',
    "Der schnelle braune Fuchs springt über",
    "Once upon a time, in a village by the mountains, there lived",
    "SELECT name, COUNT(*) FROM orders",
    "Explain in one sentence why the sky is blue:",
)
MAX_TOKENS = 12

#: Greedy text parts for good at the first near-tie, so even sound low-precision caches agree on part of it only (fp8
#: on a tiny model: 33-51 %); a corrupt cache agrees on almost nothing (1-2 %) and its first log-probability is far off
#: (1.9, against 0.1-0.33).
_LEAST_AGREEMENT = 0.25
_MOST_LOGPROB_DIFFERENCE = 0.5


@dataclass(frozen=True)
class Agreement:
    """How far two engines agree on fixed prompts.

    `share` is the share of the baseline's tokens that the candidate wrote at the same position up to the first
    difference of each prompt; `logprob_difference` the largest difference of first-token log-probabilities.
    """

    share: float
    logprob_difference: float
    ok: bool
    reason: str


def compare(baseline: Sequence[GreedyOutput], candidate: Sequence[GreedyOutput]) -> Agreement:
    """Compare greedy outputs for the same prompts, in the same order. Raises ValueError where the numbers differ."""
    if len(baseline) != len(candidate) or not baseline:
        raise ValueError(f"outputs of {len(baseline)} and {len(candidate)} prompts can't be compared")
    tokens = sum(len(output.tokens) for output in baseline)
    agreeing = sum(_common_prefix(a.tokens, b.tokens) for a, b in zip(baseline, candidate, strict=True))
    share = agreeing / tokens if tokens else 0.0
    difference = max(abs(a.first_logprob - b.first_logprob) for a, b in zip(baseline, candidate, strict=True))
    problems = []
    if share < _LEAST_AGREEMENT:
        problems.append(f"only {share:.0%} of the tokens agree (at least {_LEAST_AGREEMENT:.0%} are wanted)")
    # Written so that a NaN, which a broken kernel may give, is a problem too.
    if not difference <= _MOST_LOGPROB_DIFFERENCE:
        most = _MOST_LOGPROB_DIFFERENCE
        problems.append(f"first-token log-probabilities differ by {difference:.2f} (at most {most})")
    told = f"{share:.0%} of the tokens agree, first-token log-probabilities within {difference:.2f}"
    return Agreement(share, difference, not problems, "; ".join(problems) or told)


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))
