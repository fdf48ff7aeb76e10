"""The best so far over what it has cost."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.dashboard.pictures.picture import ACCENT, BASELINE, SOFT, Picture, axis, line, rules
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind
from tuner.study import units


def progress(view: StudyView, random: Sequence[tuple[float, float]] = ()) -> Picture | None:
    """The incumbent's value over GPU-minutes.

    `random` is the same of a random search, on simulated targets; its last point is where that search ended.
    """
    steps = view.incumbents
    if not steps:
        return None
    shown = [line("best so far", _until(steps, view.gpu_minutes), ACCENT, step="end", showSymbol=True)]
    if random:
        shown.append(line("random search", random, SOFT, step="end", dashed=True))
    if view.baseline_value is not None:
        shown[0]["markLine"] = rules([(view.baseline_value, "as found")], colour=BASELINE)
    unit = units.unit(view.objective)
    first, last = (units.value(value, view.objective) for _, value in (steps[0], steps[-1]))
    return Picture(
        "progress",
        "Best so far",
        f"The best configuration that met the SLOs went from {first} to {last} {unit} in {view.gpu_minutes:.1f} "
        f"GPU-minutes{_confirmed(view)}.{_beside(view, random)}",
        {
            "xAxis": axis("GPU-minutes", form="plain", min=0),
            "yAxis": axis(unit, form=view.form),
            "legend": {"show": bool(random)},
            "tooltip": {"trigger": "axis", "valueFormat": view.form},
            "series": shown,
        },
        ("", "GPU-minutes", f"best so far, {unit}"),
        [*_rows(view, "this study", steps), *_rows(view, "random search", random)],
    )


def _confirmed(view: StudyView) -> str:
    ran = any(row.record.kind is TrialKind.CONFIRM for row in view.rows)
    return ", the confirmation's among them" if ran else ""


def _beside(view: StudyView, random: Sequence[tuple[float, float]]) -> str:
    if not random:
        return ""
    minutes, value = random[-1]
    return f" Random search, with the same budget to search, came to {view.written(value)} in {minutes:.1f}."


def _rows(view: StudyView, name: str, steps: Sequence[tuple[float, float]]) -> list[tuple[str, str, str]]:
    return [(name, units.number(minutes), units.value(value, view.objective)) for minutes, value in steps]


def _until(steps: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    return [*steps, (end, steps[-1][1])] if end > steps[-1][0] else list(steps)
