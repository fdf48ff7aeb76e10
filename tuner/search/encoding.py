"""Candidates as Optuna's parameters and back.

Every trial has every parameter: one that lacked some would shrink TPE's joint space for the whole study. A knob that is
not active gets a value of its own just below its range where it is a whole number (no speculation: 0 tokens), else the
lowest value.
"""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.core.knob import Candidate, Knob, KnobKind, Value
from tuner.search import grid
from tuner.search.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One distribution per knob. Steps are left to `Space.repair`, so that a baseline off the grid fits as well."""
    return {knob.name: _distribution(knob) for knob in space.knobs}


def encode(space: Space, candidate: Mapping[str, Value]) -> dict[str, Value]:
    """Parameters for all knobs. Values outside a range (a default that is not worth searching) become its end."""
    params: dict[str, Value] = {}
    for knob in space.knobs:
        present = knob.name in candidate and space.active(knob, candidate)
        params[knob.name] = _encoded(knob, candidate[knob.name]) if present else _inactive(knob)
    return params


def decode(space: Space, params: Mapping[str, Value]) -> Candidate:
    """The candidate of this space that is nearest to `params`."""
    return space.repair({knob.name: _decoded(knob, params[knob.name]) for knob in space.knobs if knob.name in params})


def _distribution(knob: Knob) -> BaseDistribution:
    if knob.kind is KnobKind.BOOL:
        return CategoricalDistribution((False, True))
    if knob.kind is KnobKind.CHOICE:
        return IntDistribution(0, len(knob.choices) - 1) if _ordered(knob) else CategoricalDistribution(knob.choices)
    low, high = grid.bounds(knob)
    if knob.kind is KnobKind.FLOAT:
        return FloatDistribution(low, high, log=knob.log)
    return IntDistribution(int(_lowest(knob)), int(high), log=knob.log)


def _encoded(knob: Knob, value: Value) -> Value:
    if knob.kind is KnobKind.BOOL:
        return bool(value)
    if knob.kind is KnobKind.CHOICE:
        known = value if knob.contains(value) else knob.choices[0]
        return knob.choices.index(known) if _ordered(knob) else known
    low, high = grid.bounds(knob)
    number = min(max(float(value), low), high)
    return round(number) if knob.kind is KnobKind.INT else number


def _decoded(knob: Knob, value: Value) -> Value:
    return knob.choices[int(value)] if knob.kind is KnobKind.CHOICE and _ordered(knob) else value


def _inactive(knob: Knob) -> Value:
    if knob.kind is KnobKind.INT:
        return int(_lowest(knob))
    return _encoded(knob, grid.at(knob, 0.0))


def _lowest(knob: Knob) -> float:
    low, _ = grid.bounds(knob)
    return low - 1 if knob.condition is not None and not knob.log else low


def _ordered(knob: Knob) -> bool:
    """Choices that are numbers keep their order: TPE then learns from neighbours."""
    return all(isinstance(choice, (int, float)) and not isinstance(choice, bool) for choice in knob.choices)
