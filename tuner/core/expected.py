"""What was expected of a trial before it ran: a prediction, kept to be held against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Expected:
    """What planner and simulator expected of a configuration before it was started. The search is never told of it.

    `value` is the objective's (higher is better); None where no load was expected to keep the SLOs, or the engine to
    refuse its start (`refusal`, in the engine's words). `rate` is the load in requests/s that the value belongs to.
    `margins` hold there, by SLO: relative room to the bound, so that 0.2 is 20 % below it and -0.2 is 20 % over it.
    `certain` is False where the memory is close to a cliff.
    """

    value: float | None
    rate: float | None = None
    kv_tokens: int | None = None
    margins: Mapping[str, float] = field(default_factory=dict)
    certain: bool = True
    refusal: str | None = None
