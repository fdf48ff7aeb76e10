"""When further starts are unlikely to pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict

# Starts without progress before giving up: a few, and one per knob that is turned.
_PATIENCE = 5


def patience(knobs: int) -> int:
    """How many starts in a row may bring nothing before the search ends.

    If a share p of what the sampler draws were better by the smallest gain that matters, k starts would all miss it
    with probability (1 - p)^k. After k = 5 + knobs starts (10 for five knobs) p is below 26 % with 95 % certainty, and
    a sampler that draws near the best so far misses less than an even draw. More knobs are more places to look at.
    """
    return _PATIENCE + knobs


def unlikely_to_pay(
    seen: Sequence[tuple[Candidate, Verdict]],
    smallest_gain: float,
    knobs: int | None = None,
    merit: Callable[[float], float] = float,
) -> str | None:
    """Why the search should end although its budget would last, or None: go on.

    `seen` are the measured and failed trials in order, the baseline first; `smallest_gain` is relative (0.05); `knobs`
    is how many are searched (None: as many as took more than one value so far); `merit` makes a value one whose ratios
    mean something, see Objective.merit. The search ends when its last `patience` starts, taken together, improved the
    best by less than `smallest_gain`. While nothing is feasible it ends only after twice as many starts in which the
    least violation shrank by less than a tenth: any configuration that meets the SLOs is worth more than the starts.
    """
    wait = patience(_turned(seen) if knobs is None else knobs)
    values = [_best(seen[: index + 1], merit) for index in range(len(seen))]
    if not values:
        return None
    best = values[-1]
    if best is None:
        return _nothing_feasible(seen, 2 * wait)
    if len(values) <= wait:
        return None
    before = values[-1 - wait]
    if before is None or best >= (1 + smallest_gain) * before:
        return None
    return f"the last {wait} starts improved the best by less than {smallest_gain:.0%}: more are unlikely to pay"


def _nothing_feasible(seen: Sequence[tuple[Candidate, Verdict]], wait: int) -> str | None:
    if len(seen) <= wait:
        return None
    least = [min(verdict.total_violation for _, verdict in seen[: index + 1]) for index in range(len(seen))]
    if least[-1] < 0.9 * least[-1 - wait]:
        return None
    return f"nothing meets the SLOs, and the last {wait} starts came no nearer: more are unlikely to pay"


def _best(seen: Sequence[tuple[Candidate, Verdict]], merit: Callable[[float], float]) -> float | None:
    return max((merit(v.value) for _, v in seen if v.feasible and v.value is not None), default=None)


def _turned(seen: Sequence[tuple[Candidate, Verdict]]) -> int:
    names = {name for candidate, _ in seen for name in candidate}
    # Not having a knob is a value as well, except for the baseline, which has whatever its owner wrote.
    return sum(len({candidate.get(name) for candidate, _ in seen[1:]}) > 1 for name in names)
