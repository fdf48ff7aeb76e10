"""One trial as its page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tuner.core.measurement import Level
from tuner.dashboard.views.phases import worked
from tuner.dashboard.views.row import TrialRow
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind, TrialRecord
from tuner.study import units


@dataclass(frozen=True)
class TrialView:
    """A trial with all that was measured, beside the baseline's (None: it is the baseline, or there is none yet)."""

    study: StudyView
    trial: TrialRecord
    before: TrialRecord | None = None

    @cached_property
    def row(self) -> TrialRow:
        """As the study's table shows it."""
        return next(row for row in self.study.rows if row.number == self.trial.number)

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Trial {self.trial.number}"

    @cached_property
    def difference(self) -> Sequence[tuple[str, str, str]]:
        """Knob, the baseline's value, this trial's; those that differ."""
        if self.trial.kind is TrialKind.BASELINE or self.before is None:
            return [(name, units.setting(value), units.setting(value)) for name, value in self.trial.candidate.items()]
        found = {**self.before.reported, **self.before.candidate}
        return [
            (name, units.setting(found.get(name)), units.setting(value)) for name, value in self.row.changed.items()
        ]

    @cached_property
    def levels(self) -> Sequence[Level]:
        """The levels that were held, in their order."""
        return self.trial.measurement.levels if self.trial.measurement else self.trial.levels

    @property
    def deciding(self) -> Level | None:
        """The level that speaks for the trial."""
        return self.trial.measurement.level if self.trial.measurement else None

    @property
    def deciding_before(self) -> Level | None:
        """The same of the baseline."""
        return self.before.measurement.level if self.before and self.before.measurement else None

    @cached_property
    def phases(self) -> Sequence[tuple[str, float]]:
        """Phase and the seconds it took, in the order they came, as far as they have ended."""
        return [(phase.value, took) for phase, took in worked(self.trial.phases)]

    @property
    def neighbours(self) -> tuple[int | None, int | None]:
        """The trials before and after it."""
        numbers = [row.number for row in self.study.rows]
        at = numbers.index(self.trial.number)
        return (numbers[at - 1] if at else None, numbers[at + 1] if at + 1 < len(numbers) else None)

    @cached_property
    def expected(self) -> Sequence[tuple[str, str, str]]:
        """What planner and simulator expected before the start, against the fact: name, expectation, fact."""
        expected = self.trial.expected
        if expected is None:
            return []
        rows: list[tuple[str, str, str]] = []
        if expected.refusal is not None:
            failed = str(self.trial.failure) if self.trial.failure and not self.trial.screened else "started"
            rows.append(("start", f"refused: {expected.refusal}", "not tried" if self.trial.screened else failed))
        if expected.value is not None or self.row.value is not None:
            rows.append(("value", self.study.written(expected.value), self.study.written(self.row.value)))
        facts = self.trial.facts
        if expected.kv_tokens is not None:
            fact = f"{facts.kv_cache_tokens:,}" if facts is not None and facts.kv_cache_tokens else "—"
            rows.append(("KV cache, tokens", f"{expected.kv_tokens:,}", fact))
        for slo, room in expected.margins.items():
            rows.append((f"room to {slo}", units.room(room), units.room(self.row.margins.get(slo))))
        return rows
