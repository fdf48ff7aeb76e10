"""Where the time went: every trial by its phases, in the order they ran."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tuner.dashboard.pictures.picture import ACCENT, FAIL, SOFT, TOLD, Picture, axis, newest, rounded, spoken
from tuner.dashboard.views.phases import worked
from tuner.dashboard.views.row import TrialRow
from tuner.dashboard.views.study import StudyView
from tuner.store import Phase
from tuner.study import units

#: Phases as people call them, with their colours. A screened candidate takes no time: it is not shown.
_NAMES: Mapping[Phase, tuple[str, str]] = {
    Phase.SCREENING: ("screen", SOFT),
    Phase.STARTING: ("rollout", "@line2"),
    Phase.WARMING_UP: ("warm-up", "@line3"),
    Phase.PROBING: ("probe", ACCENT),
    Phase.JUDGING: ("judge", SOFT),
}
_SHOWN = 40
_ROW = 20


def timeline(view: StudyView) -> Picture | None:
    """A bar for each trial that was started, on a common clock; red is the phase in which it failed."""
    started = [row for row in view.rows if not row.record.screened and len(row.record.phases) > 1]
    if not started:
        return None
    begin = started[0].record.phases[0].began
    rows, cut = newest(started, "Shown are")
    resumed = any(sum(one.phase is Phase.STARTING for one in row.record.phases) > 1 for row in rows)
    again = " Between a kill and the start after it no time is counted." if resumed else ""
    names = [str(row.number) for row in rows]
    offsets = [rounded((row.record.phases[0].began - begin).total_seconds() / 60) for row in rows]
    series: list[dict[str, object]] = [_bar("", offsets, "transparent", silent=True)]
    spans = [_spans(row) for row in rows]
    for phase, (name, colour) in _NAMES.items():
        if not any(phase in one for one in spans):
            continue
        bars = [_piece(view, row, one, phase, name) for row, one in zip(rows, spans, strict=True)]
        series.append(_bar(name, spoken(bars), colour))
    return Picture(
        "timeline",
        "Where the time went",
        f"{len(started)} trials with an engine start, each from its suggestion to its outcome; red is where one "
        f"failed.{again}{cut}",
        {
            "xAxis": axis("minutes since the first trial", form="plain", min=math.floor(offsets[0])),
            "yAxis": {"type": "category", "inverse": True, "data": names, "name": "trial"},
            "legend": {"show": True, "data": [str(one["name"]) for one in series[1:]]},
            "tooltip": dict(TOLD),
            "dataZoom": [_slider(len(rows))] if len(rows) > _SHOWN else [],
            "series": series,
        },
        ("trial", "outcome", *(name for name, _ in _NAMES.values())),
        [_told(row, one) for row, one in zip(rows, spans, strict=True)],
        height=110 + _ROW * min(len(rows), _SHOWN),
        wide=True,
    )


def _slider(count: int) -> dict[str, object]:
    """Goes through the bars, at the newest first; as narrow as the room beside them."""
    bare = {"showDetail": False, "showDataShadow": False, "brushSelect": False}
    return {
        "type": "slider",
        "yAxisIndex": 0,
        "startValue": count - _SHOWN,
        "endValue": count - 1,
        "width": 10,
        "right": 3,
        **bare,
    }


def _bar(name: str, data: object, colour: str, **more: object) -> dict[str, object]:
    return {
        "type": "bar",
        "stack": "time",
        "name": name,
        "data": data,
        "itemStyle": {"color": colour},
        "barMaxWidth": 14,
        **more,
    }


def _spans(row: TrialRow) -> dict[Phase, float]:
    """Seconds in each phase; what was begun again counts together."""
    found: dict[Phase, float] = {}
    for phase, seconds in worked(row.record.phases):
        found[phase] = found.get(phase, 0.0) + seconds
    return found


def _piece(view: StudyView, row: TrialRow, spans: Mapping[Phase, float], phase: Phase, name: str) -> dict[str, object]:
    seconds = spans.get(phase, 0.0)
    failed = row.cause is not None and spans and phase is list(spans)[-1]
    text = f"trial {row.number}: {name} {units.duration(seconds)}\n{row.cause or row.outcome}"
    piece: dict[str, object] = {"value": rounded(seconds / 60), "text": text, "href": view.trial_href(row.number)}
    return {**piece, "itemStyle": {"color": FAIL}} if failed else piece


def _told(row: TrialRow, spans: Mapping[Phase, float]) -> tuple[str, ...]:
    times = (units.duration(spans[phase]) if phase in spans else "" for phase in _NAMES)
    return (str(row.number), row.cause or row.outcome, *times)
