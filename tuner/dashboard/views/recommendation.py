"""What a study recommends: the settings, what they change and give up, and what people said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuner.dashboard.views.row import TrialRow
from tuner.store import Decision, Review, StudyRecord, TrialKind, TrialRecord
from tuner.study import units
from tuner.study.standing import recommended


@dataclass(frozen=True)
class Recommendation:
    """What is recommended, if anything is."""

    study: StudyRecord
    baseline: TrialRecord | None
    rows: Sequence[TrialRow]
    reviews: Sequence[Review]

    @property
    def settings(self) -> Mapping[str, Any] | None:
        """The winner's knobs; None where nothing is recommended."""
        return recommended(self.study)

    @property
    def approved(self) -> bool:
        """Whether the last word on it was to approve it, whatever was done with it since."""
        words = [one.decision for one in self.reviews if one.decision in (Decision.APPROVED, Decision.REJECTED)]
        return bool(words) and words[-1] is Decision.APPROVED

    @cached_property
    def changes(self) -> Sequence[tuple[str, str, str]]:
        """What it changes: knob, what was found, and what is recommended."""
        winner = self.settings
        if winner is None:
            return []
        found: Mapping[str, Any] = self.study.info.get("baseline") or {}
        reported = self.baseline.reported if self.baseline else {}
        names = [name for name in {**found, **winner} if winner.get(name) != found.get(name)]
        return [
            (name, units.setting(found.get(name, reported.get(name))), units.setting(winner.get(name)))
            for name in names
        ]

    @cached_property
    def room(self) -> tuple[Sequence[str], Sequence[tuple[str, str, str]]]:
        """Promise by promise: the least room that what was found leaves, and what this does, at the loads they held.

        Of the confirmation's fresh starts, where there were any, so that one lucky start speaks for nobody. Headings
        and rows; no rows where one of both was not measured.
        """
        before = self._starts_of(dict(self.baseline.candidate) if self.baseline else None)
        after = self._starts_of(self.settings)
        if not before or not after:
            return (), ()
        headings = ("Promise", f"As found, {_held(before)}", f"Recommended, {_held(after)}")
        promises = dict.fromkeys(slo for row in (*before, *after) for slo in row.margins)
        return headings, [(slo, _least(before, slo), _least(after, slo)) for slo in promises]

    def _starts_of(self, settings: Mapping[str, Any] | None) -> Sequence[TrialRow]:
        """The measured fresh starts of these settings; without any, their newest measured trial."""
        found = [row for row in self.rows if row.record.summary and dict(row.record.candidate) == settings]
        return [row for row in found if row.record.kind is TrialKind.CONFIRM] or found[-1:]


def _held(rows: Sequence[TrialRow]) -> str:
    """At which load; of several starts at which."""
    loads = dict.fromkeys(str(row.record.summary.load) for row in rows if row.record.summary)
    told = f"at {' and '.join(loads)}" if len(loads) <= 2 else "each at its own load"
    return told if len(rows) == 1 else f"the least of {len(rows)} starts, {told}"


def _least(rows: Sequence[TrialRow], slo: str) -> str:
    return units.room(min((row.margins[slo] for row in rows if slo in row.margins), default=None))
