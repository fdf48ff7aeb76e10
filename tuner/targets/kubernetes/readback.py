"""Whether an engine that serves really runs what was asked for, by its own reports."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.engines.engine import Engine, Lever


def fail_unless_applied(engine: Engine, candidate: Candidate, facts: EngineFacts) -> None:
    """Raise TrialFailed where the engine reports other settings than the candidate's."""
    differing = engine.differs(candidate, facts)
    if differing:
        told = ", ".join(f"{name} is {is_!r}, not {asked!r}" for name, (asked, is_) in sorted(differing.items()))
        raise TrialFailed(Failure(Cause.NOT_APPLIED, f"the engine runs with other settings: {told}"))


def ineffective(engine: Engine, starts: Sequence[tuple[Candidate, EngineFacts]]) -> tuple[str, ...]:
    """Knobs that the engine takes and that do nothing on it, shown by its own reports.

    A memory share that leaves the KV cache's size to the token as it was is overridden by something else, as by the
    fixed size of a cache on a CPU.
    """
    return tuple(knob for knob, lever in engine.levers.items() if _leaves_alone(knob, lever, starts))


def _leaves_alone(knob: str, lever: Lever, starts: Sequence[tuple[Candidate, EngineFacts]]) -> bool:
    """Whether starts alike in all else that shapes the figure had several values of the knob and one figure."""
    figures: dict[tuple[object, ...], dict[object, object]] = {}
    for candidate, facts in starts:
        figure = getattr(facts, lever.figure)
        if figure is not None and knob in candidate:
            alike = tuple(candidate.get(name) for name in sorted(lever.others))
            figures.setdefault(alike, {})[candidate[knob]] = figure
    return any(len(seen) > 1 and len(set(seen.values())) == 1 for seen in figures.values())
