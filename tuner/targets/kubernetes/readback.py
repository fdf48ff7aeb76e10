"""Whether an engine that serves really runs what was asked for, by its own reports."""

from __future__ import annotations

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.engines.engine import Engine


def fail_unless_applied(engine: Engine, candidate: Candidate, facts: EngineFacts) -> None:
    """Raise TrialFailed where the engine reports other settings than the candidate's."""
    differing = engine.differs(candidate, facts)
    if differing:
        told = ", ".join(f"{name} is {is_!r}, not {asked!r}" for name, (asked, is_) in sorted(differing.items()))
        raise TrialFailed(Failure(Cause.NOT_APPLIED, f"the engine runs with other settings: {told}"))
