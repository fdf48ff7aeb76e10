"""The confirmation: fresh starts of both, and the gain with what is not known of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tuner.dashboard.pictures.picture import ACCENT, BASELINE, SOFT, TOLD, Picture, axis, line, point, rules, scatter
from tuner.dashboard.views.row import TrialRow
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind
from tuner.study import units

_SIDES = ("baseline", "finalist")


def starts(view: StudyView) -> Picture | None:
    """The value of each fresh start, in their order."""
    rows = [
        row
        for row in view.rows
        if row.record.kind is TrialKind.CONFIRM and row.record.position is not None and row.record.verdict is not None
    ]
    shown = [row for row in rows if row.value is not None]
    if not shown:
        return None
    unit = units.unit(view.objective)
    series = []
    for side, colour, symbol in zip(_SIDES, (BASELINE, ACCENT), ("diamond", "circle"), strict=True):
        points = [
            point(
                _order(row),
                row.value or 0.0,
                f"trial {row.number}, {side}\n{view.written(row.value)}",
                href=view.trial_href(row.number),
            )
            for row in shown
            if _side(view, row) == side
        ]
        series.append(scatter(side, points, 12, itemStyle={"color": colour}, symbol=symbol))
    return Picture(
        "confirmation",
        "Confirmation: fresh starts",
        f"{len(rows)} fresh starts of what was found and of the finalist, in random order"
        + (f"; {len(rows) - len(shown)} of them have no value." if len(shown) < len(rows) else "."),
        {
            "xAxis": axis("start", form="plain", minInterval=1, min=0, max=len(rows) + 1),
            "yAxis": axis(unit, form=view.form, scale=True),
            "legend": {"show": True},
            "tooltip": dict(TOLD),
            "series": series,
        },
        ("start", "", unit),
        [
            (f"{_order(row)}", _side(view, row), "—" if row.value is None else units.value(row.value, view.objective))
            for row in rows
        ],
    )


def interval(view: StudyView) -> Picture | None:
    """The gain with its 95 % interval against nothing, and against the smallest gain that matters."""
    gain, bounds = view.result.get("gain"), view.result.get("interval")
    if gain is None or bounds is None:
        return None
    low, high = bounds
    places = _places(low, high)
    told = [f"{share:+.{places}%}" for share in (gain, low, high)]
    smallest = view.smallest_gain
    marks = [(0.0, "no gain"), *([(smallest, "")] if smallest else [])]
    colour = ACCENT if low > 0 else SOFT
    series = [
        line(
            "95 % interval",
            [(low, 0), (high, 0)],
            colour,
            showSymbol=True,
            symbol="rect",
            symbolSize=[3, 18],
            lineStyle={"width": 5, "color": colour},
        ),
        scatter("gain", [point(gain, 0, f"{told[0]} [{told[1]}, {told[2]}]")], 16, itemStyle={"color": colour}),
    ]
    series[0]["markLine"] = rules(marks, "xAxis", SOFT)
    return Picture(
        "interval",
        "How sure the gain is",
        f"{told[0]}, with 95 % confidence between {told[1]} and {told[2]}; "
        f"{f'a gain matters from {smallest * 100:+.3g}%' if smallest else 'any gain matters'}.",
        {
            "xAxis": axis("gain", form="share", scale=True, **_span(low, high, smallest)),
            "yAxis": {"type": "value", "show": False, "min": -1, "max": 1},
            "tooltip": dict(TOLD),
            "series": series,
        },
        ("gain", "low", "high"),
        [tuple(told)],
        height=150,
    )


def _span(low: float, high: float, smallest: float) -> dict[str, Any]:
    """From a little below to a little above all that is shown, in tidy numbers that leave nothing out."""
    ends: Sequence[float] = (low, high, 0.0, smallest)
    wide = max(ends) - min(ends) or 0.01
    digits = 1 - math.floor(math.log10(wide))  # two of the width's: tidy for gains of a thousandth and of a thousand
    step = 10.0**-digits
    low_end, high_end = min(ends) - 0.1 * wide, max(ends) + 0.1 * wide
    return {
        "min": round(math.floor(low_end / step) * step, digits),
        "max": round(math.ceil(high_end / step) * step, digits),
    }


def _places(low: float, high: float) -> int:
    """Decimal places of a percentage, so that the ends of a narrow interval differ."""
    wide = high - low
    return 1 if wide <= 0 else min(6, max(1, -math.floor(math.log10(wide * 100))))


def _side(view: StudyView, row: TrialRow) -> str:
    same = view.baseline is not None and row.record.candidate == view.baseline.candidate
    return _SIDES[0] if same else _SIDES[1]


def _order(row: TrialRow) -> int:
    assert row.record.position is not None
    return row.record.position + 1
