"""A trial as a line of a study's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuner.core.knob import Candidate
from tuner.core.workload import Objective
from tuner.store import TrialKind, TrialRecord
from tuner.study import units
from tuner.study.budget import spent_gpu_s
from tuner.study.report import against_baseline, margins, outcome
from tuner.study.standing import baseline, changes, incumbent, value_of

_FIRST = TrialKind.BASELINE


@dataclass(frozen=True)
class TrialRow:
    """One trial as a line of the table; `gpu_minutes` are those spent when it was over, it and all before it."""

    record: TrialRecord
    changed: Candidate
    value: float | None
    gain: float | None
    margins: Mapping[str, float]
    outcome: str
    gpu_minutes: float
    incumbent: bool

    @property
    def number(self) -> int:
        """Its number in the study."""
        return self.record.number

    @property
    def first(self) -> bool:
        """Whether it runs what was found."""
        return self.record.kind is _FIRST

    @property
    def cause(self) -> str | None:
        """Why it failed, or would have."""
        return self.record.failure.cause.value if self.record.failure else None

    @property
    def told(self) -> str:
        """What it changed, in words."""
        return "as found" if self.first else units.changed(self.changed)

    @property
    def seconds(self) -> float:
        """What it took, start and probe."""
        return self.record.start_s + self.record.probe_s


def rows(trials: Sequence[TrialRecord], objective: Objective, gpus: int) -> Iterator[TrialRow]:
    """A study's trials, by number, of an engine on so many GPUs."""
    first, best = baseline(trials), incumbent(trials)
    before, spent = value_of(first), 0.0
    for trial in trials:
        spent += spent_gpu_s(trial, gpus)
        value = value_of(trial)
        yield TrialRow(
            record=trial,
            changed=changes(trial, first),
            value=value,
            gain=against_baseline(trial, before, objective),
            margins=margins(trial),
            outcome=outcome(trial),
            gpu_minutes=spent / 60,
            incumbent=best is not None and trial.id == best.id,
        )
