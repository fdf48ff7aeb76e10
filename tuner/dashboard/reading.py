"""The database as pages read it: one study, all in short, and nothing read twice that has not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.dashboard.views.study import StudyView
from tuner.store import Store, StudyRecord, TrialRecord
from tuner.study.report import overview, standing

#: Studies of a thousand trials take some ten megabytes each.
_KEPT = 20


class Reading:
    """Reads one store. Every method takes some milliseconds and may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._overviews: dict[int, tuple[object, dict[str, Any]]] = {}
        self._views: dict[int, tuple[object, StudyView]] = {}

    def overviews(self) -> list[dict[str, Any]]:
        """All studies as `tuner studies` lists them, oldest first, with `id`, `by` and `budget`."""
        stamps = self.store.stamps()
        return [self._overview(study, stamps.get(study.id)) for study in self.store.studies()]

    def study(self, study_id: int) -> StudyView:
        """One study, its trials in short; from memory where nothing was entered since. Raises Unknown."""
        entered = self.store.stamp(study_id)  # before what it stands for: a page may be newer than it, and never older
        study = self.store.study_by_id(study_id)
        stamp = (entered, standing(study))
        kept = self._views.get(study_id)
        if kept is None or kept[0] != stamp:
            view = StudyView(study, self.store.trials(study_id, short=True), self.store.reviews.of(study_id))
            kept = self._views[study_id] = (stamp, view)
            while len(self._views) > _KEPT:
                self._views.pop(next(iter(self._views)), None)
        return kept[1]

    def trial(self, study_id: int, number: int) -> TrialRecord:
        """One trial with everything that was measured. Raises Unknown."""
        return self.store.trial(study_id, number)

    def _overview(self, study: StudyRecord, stamp: object) -> dict[str, Any]:
        """From memory where nothing was entered since; whether somebody works on it is asked each time."""
        kept = self._overviews.get(study.id)
        if kept is None or kept[0] != stamp:
            kept = (stamp, listed(study, self.store.trials(study.id, short=True)))
            self._overviews[study.id] = kept
        return {**kept[1], "state": standing(study)}


def listed(study: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """One study as the list of studies shows it."""
    budget: Mapping[str, Any] = study.spec.get("budget") or {}
    return {
        "id": study.id,
        **overview(study, trials),
        "by": study.info.get("by", ""),
        "budget": {"starts": budget.get("starts"), "gpu_minutes": budget.get("gpu_minutes")},
        "simulated": bool(study.info.get("simulated")),
    }
