"""What each knob did: slices through the trials, and how much it mattered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tuner.core.knob import Value, as_text
from tuner.dashboard.pictures.outcomes import look
from tuner.dashboard.pictures.picture import (
    ACCENT,
    TOLD,
    Picture,
    axis,
    grouped,
    newest,
    point,
    rounded,
    scatter,
    spoken,
)
from tuner.dashboard.views.row import TrialRow
from tuner.dashboard.views.study import StudyView
from tuner.study import units
from tuner.study.importance import Importance


def slices(view: StudyView) -> Iterator[Picture]:
    """For each knob: the value of every trial over its setting; what has no value lies on the ground."""
    rows = [row for row in view.rows if row.record.recorded and not row.record.screened]
    for knob in view.turned:
        found = [(row, view.setting_of(row, knob)) for row in rows]
        known = [(row, value) for row, value in found if value is not None]
        if len({value for _, value in known}) > 1:
            yield _slice(view, knob, known)


def _slice(view: StudyView, knob: str, found: Sequence[tuple[TrialRow, Value]]) -> Picture:
    unit = units.unit(view.objective)
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for _, value in found)
    names = sorted({as_text(value) for _, value in found})
    points = spoken([_point(view, row, knob, setting, numbers) for row, setting in found])
    told, cut = newest(found, "The table has")
    across = axis(knob, form="plain", scale=True) if numbers else axis(knob, "category", data=names)
    if numbers and _spread([float(value) for _, value in found]):
        across = axis(knob, "log", form="plain", logBase=2)
    return Picture(
        f"slice-{knob}",
        knob,
        f"{unit} of {len(found)} trials over {knob}; those without a value lie on the ground.{cut}",
        {
            "xAxis": across,
            "yAxis": axis(unit, form=view.form, min=0),
            "legend": {"show": True},
            "tooltip": dict(TOLD),
            "series": [
                scatter(name, group, **look(name))
                for name, group in grouped([row.outcome for row, _ in found], points).items()
            ],
        },
        (knob, unit, "outcome"),
        [
            (
                as_text(value),
                "—" if row.value is None else units.value(row.value, view.objective),
                row.cause or row.outcome,
            )
            for row, value in told
        ],
        height=240,
    )


def _point(view: StudyView, row: TrialRow, knob: str, setting: Value, numbers: bool) -> dict[str, Any]:
    text = f"trial {row.number}, {row.cause or row.outcome}\n{knob}={as_text(setting)}\n{view.written(row.value)}"
    x = setting if numbers and isinstance(setting, (int, float)) else as_text(setting)
    return point(x, row.value or 0.0, text, href=view.trial_href(row.number))


def _spread(values: Sequence[float]) -> bool:
    """Whether they lie so far apart that doublings show them better."""
    return min(values) > 0 and max(values) / min(values) >= 8


def importance(found: Importance | None) -> Picture | None:
    """How much of the differences between trials goes with each knob that stands out."""
    if found is None:
        return None
    order = sorted(found.knobs, key=lambda name: found.shares.get(name, 0.0))
    bars = [{"value": rounded(found.shares.get(name, 0.0)), "text": f"{name}: {_share(found, name)}"} for name in order]
    return Picture(
        "importance",
        "What mattered",
        found.caution
        or f"How much of the differences in rank between {found.trials} trials goes with each knob alone; a knob "
        "without a bar does not stand out from chance.",
        {
            "xAxis": axis("share", form="share", min=0, max=1),
            "yAxis": {"type": "category", "data": order},
            "tooltip": dict(TOLD),
            "series": [
                {
                    "type": "bar",
                    "name": "importance",
                    "barMaxWidth": 22,
                    "itemStyle": {"color": ACCENT},
                    "data": bars,
                }
            ],
        },
        ("knob", "share"),
        [(name, _share(found, name)) for name in reversed(order)],
        height=60 + 34 * len(order),
    )


def _share(found: Importance, name: str) -> str:
    return f"{found.shares[name]:.0%}" if name in found.shares else "not above chance"
