"""The levels of trials: which loads were tried, and what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.core.summary import LevelSummary
from tuner.core.workload import Load, ObjectiveKind
from tuner.dashboard.pictures.outcomes import look
from tuner.dashboard.pictures.picture import TOLD, Picture, axis, grouped, newest, point, scatter, spoken
from tuner.dashboard.views.row import TrialRow
from tuner.dashboard.views.study import StudyView
from tuner.study import units

_MOST_TRIALS = 100  # each has several levels


def levels(view: StudyView) -> Picture | None:
    """The levels of the newest trials by their load, coloured by verdict."""
    trials, cut = newest([row for row in view.rows if _held(view, row)], "Shown are those of", _MOST_TRIALS)
    found = [(row, one) for row in trials for one in _held(view, row)]
    if not found:
        return None
    points = spoken([_point(view, row, one) for row, one in found])
    told, short = newest(found, "The table has")
    return Picture(
        "levels",
        "Levels",
        f"{len(found)} levels of load that were held, trial by trial: a capacity lies between those that passed and "
        f"those that failed.{cut}{short}",
        {
            "xAxis": axis("trial", form="plain", minInterval=1, scale=True),
            "yAxis": axis(_load_name(found[0][1]), form="plain", kind="log"),
            "legend": {"show": True},
            "tooltip": dict(TOLD),
            "series": [
                scatter(name, group, 9, **look(name))
                for name, group in grouped([_verdict(one) for _, one in found], points).items()
            ],
        },
        ("trial", "load", "verdict", "held for"),
        [(str(row.number), str(one.load), _verdict(one), units.duration(one.duration_s)) for row, one in told],
    )


def amount(load: Load) -> float:
    """A load as a number: requests/s, or clients."""
    return load.rate if load.rate is not None else float(load.concurrency or 0)


def _held(view: StudyView, row: TrialRow) -> Sequence[LevelSummary]:
    """Those of the objective's own kind of load: a search for a capacity may begin with a look at a closed loop."""
    closed = view.objective.kind is ObjectiveKind.THROUGHPUT
    levels = row.record.summary.levels if row.record.summary else ()
    return [level for level in levels if (level.load.rate is None) is closed]


def _verdict(level: LevelSummary) -> str:
    return "void" if level.void else level.answer.value


def _point(view: StudyView, row: TrialRow, level: LevelSummary) -> dict[str, Any]:
    text = f"trial {row.number}\n{level.load}: {_verdict(level)}\nheld for {units.duration(level.duration_s)}"
    return point(row.number, amount(level.load), text, href=view.trial_href(row.number))


def _load_name(level: LevelSummary) -> str:
    return "clients" if level.load.rate is None else "requests/s"
