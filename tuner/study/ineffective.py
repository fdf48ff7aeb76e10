"""Knobs that an engine takes and that do nothing on it, shown by its own reports of all starts on record."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.engines import Engine
from tuner.engines.engine import Lever
from tuner.store import TrialRecord


def ineffective(engine: Engine, trials: Sequence[TrialRecord]) -> tuple[str, ...]:
    """The knobs that did nothing.

    A memory share that leaves the KV cache's size to the token as it was is overridden by something else, as by the
    fixed size of a cache on a CPU.
    """
    return tuple(knob for knob, lever in engine.levers.items() if _leaves_alone(knob, lever, trials))


def _leaves_alone(knob: str, lever: Lever, trials: Sequence[TrialRecord]) -> bool:
    """Whether starts alike in all else that shapes the figure had several values of the knob and one figure."""
    figures: dict[tuple[object, ...], dict[object, object]] = {}
    for trial in trials:
        figure = getattr(trial.facts, lever.figure, None)
        ran = {**trial.reported, **trial.candidate}
        if figure is not None and knob in ran:
            alike = tuple(ran.get(name) for name in sorted(lever.others))
            figures.setdefault(alike, {})[ran[knob]] = figure
    return any(len(seen) > 1 and len(set(seen.values())) == 1 for seen in figures.values())
