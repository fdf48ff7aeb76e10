"""The database as pages read it: one study, all in short, and nothing read twice that has not changed."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

from tuner.dashboard.views.study import StudyView
from tuner.store import Store, StudyRecord, TrialRecord
from tuner.study.standing import state_of

#: Studies of a thousand trials take some ten megabytes each.
_KEPT = 20


class Reading:
    """Reads one store. Every method takes some milliseconds and may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._overviews: dict[int, tuple[object, dict[str, Any]]] = {}
        self._views: OrderedDict[int, tuple[object, StudyView]] = OrderedDict()
        self._keeping = Lock()
        self._turns: defaultdict[int, Lock] = defaultdict(Lock)  # of those who ask for the same study

    def overviews(self) -> list[dict[str, Any]]:
        """All studies as `tuner studies` lists them, oldest first, with `id`, `by`, `budget` and the newest
        `decision`."""
        return list(self.each())

    def each(self) -> Iterator[dict[str, Any]]:
        """The same, one after the other: what stays in memory at the end are the newest."""
        stamps = self.store.stamps()
        for study in self.store.studies():
            yield self._overview(study, stamps.get(study.id))

    def study(self, study_id: int) -> StudyView:
        """One study, its trials in short; from memory where nothing was entered since. Raises Unknown."""
        entered = self.store.stamp(study_id)  # before what it stands for: a page may be newer than it, and never older
        return self._view(self.store.study_by_id(study_id), entered)

    def trial(self, study_id: int, number: int) -> TrialRecord:
        """One trial with everything that was measured. Raises Unknown."""
        return self.store.trial(study_id, number)

    def _view(self, study: StudyRecord, entered: object) -> StudyView:
        stamp = (entered, state_of(study))
        with self._keeping:
            turn = self._turns[study.id]
        with turn:  # who asks for the same study meanwhile waits for it, and does not read it once more
            with self._keeping:
                kept = self._views.get(study.id)
                if kept is not None and kept[0] == stamp:
                    self._views.move_to_end(study.id)
                    return kept[1]
            trials, reviews = self.store.trials(study.id, short=True), self.store.reviews.of(study.id)
            view = StudyView(study, trials, reviews, state=stamp[1])  # its claim grows old while the view is kept
            with self._keeping:
                self._views[study.id] = (stamp, view)
                self._views.move_to_end(study.id)
                if len(self._views) > _KEPT:
                    self._views.popitem(last=False)
            return view

    def _overview(self, study: StudyRecord, entered: object) -> dict[str, Any]:
        """From memory where nothing was entered since; whether somebody works on it is asked each time."""
        kept = self._overviews.get(study.id)
        if kept is None or kept[0] != entered:
            kept = self._overviews[study.id] = (entered, listed(self._view(study, entered)))
        return {**kept[1], "state": state_of(study)}


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
        "decision": view.reviews[-1].decision.value if view.reviews else None,
    }
