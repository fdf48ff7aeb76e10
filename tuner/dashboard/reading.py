"""The database as pages read it: one study, all in short, and nothing read twice that has not changed."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

from tuner.dashboard.views.study import StudyView
from tuner.store import Store, StudyRecord, TrialRecord
from tuner.study.report import standing

#: Studies of a thousand trials take some ten megabytes each.
_KEPT = 20


class Reading:
    """Reads one store. Every method takes some milliseconds and may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._overviews: dict[int, tuple[object, dict[str, Any]]] = {}
        self._views: dict[int, tuple[object, StudyView]] = {}
        self._keeping = Lock()

    def overviews(self) -> list[dict[str, Any]]:
        """All studies as `tuner studies` lists them, oldest first, with `id`, `by` and `budget`."""
        stamps = self.store.stamps()
        return [self._overview(study, stamps.get(study.id)) for study in self.store.studies()]

    def study(self, study_id: int) -> StudyView:
        """One study, its trials in short; from memory where nothing was entered since. Raises Unknown."""
        entered = self.store.stamp(study_id)  # before what it stands for: a page may be newer than it, and never older
        return self._view(self.store.study_by_id(study_id), entered)

    def trial(self, study_id: int, number: int) -> TrialRecord:
        """One trial with everything that was measured. Raises Unknown."""
        return self.store.trial(study_id, number)

    def _view(self, study: StudyRecord, entered: object) -> StudyView:
        stamp = (entered, standing(study))
        with self._keeping:  # who asks for the same study meanwhile waits for it, and does not read it once more
            kept = self._views.get(study.id)
            if kept is None or kept[0] != stamp:
                view = StudyView(study, self.store.trials(study.id, short=True), self.store.reviews.of(study.id))
                kept = self._views[study.id] = (stamp, view)
                while len(self._views) > _KEPT:
                    del self._views[next(iter(self._views))]
            return kept[1]

    def _overview(self, study: StudyRecord, entered: object) -> dict[str, Any]:
        """From memory where nothing was entered since; whether somebody works on it is asked each time."""
        kept = self._overviews.get(study.id)
        if kept is None or kept[0] != entered:
            kept = self._overviews[study.id] = (entered, listed(self._view(study, entered)))
        return {**kept[1], "state": standing(study)}


def listed(view: StudyView) -> dict[str, Any]:
    """One study as the list of studies shows it."""
    study = view.study
    budget: Mapping[str, Any] = study.spec.get("budget") or {}
    return {
        "id": study.id,
        **view.overview,
        "by": study.info.get("by", ""),
        "budget": {"starts": budget.get("starts"), "gpu_minutes": budget.get("gpu_minutes")},
        "simulated": bool(study.info.get("simulated")),
    }
