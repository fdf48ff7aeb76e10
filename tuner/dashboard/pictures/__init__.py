"""Pictures as options of the chart library: plain data, so that a page, a report and a test see the same.

Numbers are written by a name, `"format": "seconds"`, which `static/charts.js` turns into a function. Colours are names
of the page's own (`"@pass"`), so that a picture is light by day and dark by night.
"""

from __future__ import annotations

from collections.abc import Sequence

from tuner.dashboard.pictures.confirmation import interval, starts
from tuner.dashboard.pictures.knobs import importance, slices
from tuner.dashboard.pictures.latency import distributions
from tuner.dashboard.pictures.levels import levels
from tuner.dashboard.pictures.phases import timeline
from tuner.dashboard.pictures.picture import Picture
from tuner.dashboard.pictures.progress import progress
from tuner.dashboard.pictures.running import running
from tuner.dashboard.pictures.tradeoff import tradeoffs
from tuner.dashboard.views.comparison import TrialComparison
from tuner.dashboard.views.study import StudyView
from tuner.dashboard.views.trial import TrialView

__all__ = ["Picture", "of_study", "of_trial", "of_trials", "progress"]


def of_study(view: StudyView) -> Sequence[tuple[str, Sequence[Picture]]]:
    """A study's pictures under their headings; headings without any are left out."""
    groups = (
        ("How sure", [interval(view), starts(view)]),
        ("What it costs", [*tradeoffs(view), progress(view)]),
        ("What was tried", [levels(view), importance(view.importance), *slices(view)]),
        ("Where the time went", [timeline(view)]),
    )
    shown = [(heading, [picture for picture in group if picture is not None]) for heading, group in groups]
    return [(heading, group) for heading, group in shown if group]


def of_trial(view: TrialView) -> Sequence[Picture]:
    """A trial's pictures; none where nothing speaks for it."""
    if view.deciding is None:
        return []
    sides = [(f"trial {view.trial.number}", view.deciding), ("as found", view.deciding_before)]
    return [*distributions(sides, view.study.slos), *running(view.deciding)]


def of_trials(view: TrialComparison) -> Sequence[Picture]:
    """Both trials' latencies."""
    a, b = view.levels
    return list(distributions([(f"trial {view.a.number}", a), (f"trial {view.b.number}", b)], view.study.slos))
