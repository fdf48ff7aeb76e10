"""A search space: the knobs of one study with their relations, and the moves within it."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tuner.core.knob import Candidate, Knob, KnobKind, Value
from tuner.search import grid
from tuner.search.relations import Relation


@dataclass(frozen=True)
class LeftOut:
    """A knob, or one choice of it, that is not searched, and why."""

    knob: str
    reason: str


@dataclass(frozen=True)
class Space:
    """The knobs that a study turns (parents before the knobs whose condition names them), and how they hang together.

    `fixed` are values that every candidate carries without being searched: fixed by the user, or found on the target in
    a knob that is left out. `lossless` are the settings, searched or not, that leave what the model writes as it is.
    `settings` are other settings that relations speak of (max_model_len). `defaults` are the
    engine's own values as far as known beforehand.
    """

    knobs: tuple[Knob, ...]
    relations: tuple[Relation, ...] = ()
    fixed: Mapping[str, Value] = field(default_factory=dict)
    lossless: frozenset[str] = frozenset()
    settings: Mapping[str, Value] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()  # what to tell the user of what is searched

    @cached_property
    def by_name(self) -> Mapping[str, Knob]:
        """The knobs by name."""
        return {knob.name: knob for knob in self.knobs}

    @cached_property
    def size(self) -> float:
        """How many combinations of knob values there are, before relations merge some; infinite where continuous."""
        return math.prod(math.inf if (values := grid.values(knob)) is None else len(values) for knob in self.knobs)

    # --- judging a candidate ------------------------------------------------------------------------------------------

    def may_change_output(self, before: Mapping[str, Value], after: Mapping[str, Value]) -> bool:
        """Whether the way from one candidate to the other may change what the model writes."""
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        return not changed <= self.lossless

    def active(self, knob: Knob, values: Mapping[str, Value]) -> bool:
        """Whether the knob's condition holds under `values`."""
        return knob.condition is None or values.get(knob.condition.knob) in knob.condition.values

    def problems(self, candidate: Candidate) -> list[str]:
        """What keeps `candidate` from being one of this space, one line each; empty: nothing."""
        found = []
        for knob in self.knobs:
            present = knob.name in candidate
            if not self.active(knob, candidate):
                if present:
                    found.append(f"{knob.name} is set without its condition ({knob.condition})")
            elif not present:
                found.append(f"{knob.name} is missing")
            elif not knob.contains(candidate[knob.name]):
                found.append(f"{knob.name}={candidate[knob.name]} is outside {describe(knob)}")
        found += [f"{name} must be {value}" for name, value in self.fixed.items() if candidate.get(name) != value]
        known = {*self.by_name, *self.fixed}
        found += [f"{name} is not a knob of this space" for name in candidate if name not in known]
        values = {**self.settings, **candidate}
        return found + [f"broken: {relation}" for relation in self.relations if not relation.holds(values)]

    # --- making a candidate -------------------------------------------------------------------------------------------

    def complete(self, partial: Mapping[str, Value], defaults: Mapping[str, Value] | None = None) -> Candidate:
        """`partial` with every searched knob spelt out, as an engine with these `defaults` would run it.

        `defaults` are what the engine reported (EngineFacts.settings); where it did not, the space's own are taken, and
        failing those the middle of the range. Values outside a range stay as they are: this describes what runs, it
        does not repair it. Knobs that are not active are left out.
        """
        known = {**self.defaults, **(defaults or {})}
        values: dict[str, Value] = {**self.fixed, **{n: v for n, v in partial.items() if n not in self.by_name}}
        for knob in self.knobs:
            if not self.active(knob, values):
                continue
            value = partial.get(knob.name, known.get(knob.name))
            values[knob.name] = grid.at(knob, 0.5) if value is None else value
        return Candidate.of(values)

    def repair(self, candidate: Mapping[str, Value]) -> Candidate:
        """The nearest candidate of this space: every active knob present and in range, every relation kept."""
        values: dict[str, Value] = dict(self.fixed)
        for knob in self.knobs:
            value = candidate.get(knob.name, self.defaults.get(knob.name))
            values[knob.name] = grid.at(knob, 0.5) if value is None else grid.snap(knob, value)
        # A change made for one relation may break an earlier one; each pass settles at least one for good.
        for _ in range(2 * len(self.relations) + 1):
            broken = [one for one in self.relations if not one.holds({**self.settings, **self._active_part(values)})]
            if not broken:
                break
            self._mend(broken[0], values)
        return Candidate.of(self._active_part(values))

    def _active_part(self, values: Mapping[str, Value]) -> dict[str, Value]:
        kept: dict[str, Value] = dict(self.fixed)
        for knob in self.knobs:
            if self.active(knob, kept):
                kept[knob.name] = values[knob.name]
        return kept

    def _mend(self, relation: Relation, values: dict[str, Value]) -> None:
        """Make one relation hold: by its left side, else by its right side, else by leaving its `when`."""
        known = {**self.settings, **values}
        upwards = relation.operator == ">="
        left, right = self.by_name.get(relation.left), self.by_name.get(str(relation.right))
        if left is not None:
            value = (grid.at_least if upwards else grid.at_most)(left, relation.bound(known))
            if value is not None:
                values[left.name] = value
                return
        if right is not None:
            value = (grid.at_most if upwards else grid.at_least)(right, float(known[relation.left]))
            if value is not None:
                values[right.name] = value
                return
        if relation.when is not None and (knob := self.by_name.get(relation.when)) is not None:
            others = [value for value in grid.values(knob) or () if value != relation.is_]
            if others:
                values[knob.name] = others[0]

    # --- moving about -------------------------------------------------------------------------------------------------

    def sample(self, rng: random.Random) -> Candidate:
        """A candidate drawn evenly over the values worth trying."""
        return self.at([rng.random() for _ in self.knobs])

    def at(self, point: list[float]) -> Candidate:
        """The candidate at a point of the unit cube, one coordinate per knob."""
        shares = zip(self.knobs, point, strict=True)
        return self.repair({knob.name: grid.at(knob, share) for knob, share in shares})

    def point(self, candidate: Mapping[str, Value]) -> list[float]:
        """Where a candidate lies in the unit cube; knobs it lacks count with their default."""
        repaired = self.repair(candidate)
        return [grid.position(k, repaired[k.name]) if k.name in repaired else -0.5 for k in self.knobs]

    def distance(self, a: Mapping[str, Value], b: Mapping[str, Value]) -> float:
        """How far two candidates are apart: the root mean square over knobs of the share of the range, 0 to about 1."""
        if not self.knobs:
            return 0.0
        gaps = [(p - q) ** 2 for p, q in zip(self.point(a), self.point(b), strict=True)]
        return math.sqrt(sum(gaps) / len(gaps))

    def neighbours(self, candidate: Mapping[str, Value]) -> list[Candidate]:
        """Candidates that differ from `candidate` by one step of one knob (more where a relation asks for it)."""
        here = self.repair(candidate)
        found: dict[str, Candidate] = {}
        for knob in self.knobs:
            if knob.name not in here:
                continue
            for value in _steps(knob, here[knob.name]):
                other = self.repair({**here, knob.name: value})
                if other != here:
                    found.setdefault(other.key, other)
        return list(found.values())

    def candidates(self) -> Iterator[Candidate]:
        """Every candidate once. Raises ValueError where the space is continuous."""
        columns = [grid.values(knob) for knob in self.knobs]
        if any(column is None for column in columns):
            raise ValueError("a continuous space can't be listed")
        seen = set()
        for row in itertools.product(*(column or () for column in columns)):
            candidate = self.repair({knob.name: value for knob, value in zip(self.knobs, row, strict=True)})
            if candidate.key not in seen:
                seen.add(candidate.key)
                yield candidate


def describe(knob: Knob) -> str:
    """A knob's range in a few characters, for messages."""
    if knob.kind is KnobKind.BOOL:
        return "true or false"
    if knob.kind is KnobKind.CHOICE:
        return ", ".join(str(choice) for choice in knob.choices)
    low, high = grid.bounds(knob)
    return f"{low:g} to {high:g}"


def _steps(knob: Knob, value: Value) -> list[Value]:
    options = grid.values(knob)
    if knob.kind in (KnobKind.BOOL, KnobKind.CHOICE):
        return [option for option in options or () if option != value]
    if options is None:
        share = grid.position(knob, value)
        return [grid.at(knob, share - 0.1), grid.at(knob, share + 0.1)]
    index = options.index(grid.snap(knob, value))
    return [options[i] for i in (index - 1, index + 1) if 0 <= i < len(options)]
