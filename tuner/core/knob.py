"""Knobs and candidates: what can be turned, and one way of turning it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = bool | int | float | str


def as_text(value: Value | None) -> str:
    """A value as people and YAML write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class KnobKind(StrEnum):
    """How a knob's values are drawn."""

    INT = "int"
    FLOAT = "float"
    CHOICE = "choice"
    BOOL = "bool"


class CostClass(StrEnum):
    """What turning a knob may cost beside time."""

    LOSSLESS = "lossless"
    MAY_CHANGE_OUTPUT = "may-change-output"


@dataclass(frozen=True)
class Condition:
    """A knob is active only where another knob has one of these values."""

    knob: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Knob:
    """One tunable engine setting, by the engine's own name with underscores (`max_num_seqs`).

    `low` and `high` are inclusive and set for int and float knobs; `choices` is set for choice knobs. `step` is the
    distance between the values worth trying on a linear scale, `per_doubling` their number per doubling on a log scale
    (2: 64, 96, 128); both None: any value.
    """

    name: str
    kind: KnobKind
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    log: bool = False
    step: float | None = None
    per_doubling: int | None = None
    condition: Condition | None = None
    cost: CostClass = CostClass.LOSSLESS

    def contains(self, value: Value) -> bool:
        """Whether `value` is of this knob's type and within its range. A bool is never a number here."""
        if self.kind is KnobKind.BOOL:
            return isinstance(value, bool)
        if self.kind is KnobKind.CHOICE:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if isinstance(value, (bool, str)) or (self.kind is KnobKind.INT and not isinstance(value, int)):
            return False
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Candidate(Mapping[str, Value]):
    """Values for the knobs of one trial; an absent knob means "engine default", which differs from naming the default.

    Immutable, hashable, ordered by knob name; equal candidates have equal `key`s.
    """

    items_: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Value] | None = None, /, **more: Value) -> Candidate:
        """A candidate from a mapping or keywords."""
        return cls(tuple(sorted({**(values or {}), **more}.items())))

    def __getitem__(self, name: str) -> Value:
        for key, value in self.items_:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items_)

    def __len__(self) -> int:
        return len(self.items_)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Candidate) and self.key == other.key

    @property
    def key(self) -> str:
        """Canonical text: the identity under which a candidate is stored and never suggested twice."""
        return json.dumps(dict(self.items_), separators=(",", ":"), sort_keys=True)

    def with_(self, **values: Value) -> Candidate:
        """A copy with some values set."""
        return Candidate.of({**self, **values})

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.items_) or "engine defaults"
