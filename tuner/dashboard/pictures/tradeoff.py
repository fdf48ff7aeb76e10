"""Throughput against latency: what each trial gave up for what it won."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.core.slo import Metric, Slo
from tuner.core.workload import Load
from tuner.dashboard.pictures.outcomes import look
from tuner.dashboard.pictures.picture import (
    ACCENT,
    BASELINE,
    SOFT,
    TOLD,
    Picture,
    axis,
    grouped,
    line,
    newest,
    point,
    rounded,
    rules,
    scatter,
    spoken,
)
from tuner.dashboard.views.row import TrialRow
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialKind
from tuner.study import units

#: The chart library has none of its own, and its pin stands beside its point.
_STAR = "path://M50 5 61 38 96 38 68 59 79 92 50 72 21 92 32 59 4 38 39 38Z"
#: Groups that are told by what they are for, not by how they ended: colour, symbol, size.
_SPECIAL: Mapping[str, tuple[str, str, int]] = {
    "as found": (BASELINE, "diamond", 14),
    "best": (ACCENT, _STAR, 16),
    "confirmation": ("@line4", "roundRect", 9),
}


@dataclass(frozen=True)
class _Spot:
    """Where a trial lies: what it served, how long that took, and at which load."""

    row: TrialRow
    load: Load
    rate: float
    latency: float

    @property
    def feasible(self) -> bool:
        """Whether it met every SLO."""
        return self.row.record.verdict is not None and self.row.record.verdict.feasible


def tradeoffs(view: StudyView) -> Iterator[Picture]:
    """One picture for each latency that was promised; TTFT and ITL where none was."""
    promised = [slo for slo in view.slos if slo.metric is not Metric.ERROR_RATE]
    for slo in {(one.metric, one.statistic): one for one in promised}.values():
        picture = _tradeoff(view, slo.metric.value, slo.statistic, [one for one in promised if _alike(one, slo)])
        if picture is not None:
            yield picture
    if not promised:
        yield from filter(None, (_tradeoff(view, metric, "p95", ()) for metric in ("ttft", "itl")))


def _alike(one: Slo, other: Slo) -> bool:
    return (one.metric, one.statistic) == (other.metric, other.statistic)


def _tradeoff(view: StudyView, metric: str, statistic: str, slos: Sequence[Slo]) -> Picture | None:
    spots = [spot for row in view.rows if (spot := _spot(row, metric, statistic)) is not None]
    if not spots:
        return None
    series = _series(view, spots, metric, statistic)
    front = _front([spot for spot in spots if spot.feasible])
    if len(front) > 1:
        ends = [(rounded(spot.rate), rounded(spot.latency)) for spot in front]
        series.insert(0, line("best trade-offs", ends, SOFT, silent=True, z=1))
    told, cut = newest(spots, "The table has")
    if slos:
        series[-1]["markLine"] = rules([(slo.bound, str(slo)) for slo in slos])
    name = f"{units.METRICS[metric]} {statistic}"
    told_as = "One trial" if len(spots) == 1 else f"{len(spots)} trials"
    bounds = [slo.bound for slo in slos]
    far = _far_apart([*(spot.latency for spot in spots), *bounds])
    # An axis makes room for points, and not for the rules across them.
    top = {"max": rounded(1.1 * max(bounds))} if bounds and max(bounds) > max(spot.latency for spot in spots) else {}
    return Picture(
        f"tradeoff-{metric}-{statistic}",
        f"Throughput against {name}",
        f"{told_as} by what they served and the {name} that took, {_at(spots)}; further right and further "
        f"down is better{', and the line joins the best that met every SLO' if len(front) > 1 else ''}.{cut}",
        {
            "xAxis": axis("output tokens/s", form="plain", scale=True),
            "yAxis": axis(name, "log" if far else "value", form="seconds", scale=True, **top),
            "legend": {"show": True},
            "tooltip": dict(TOLD),
            "series": series,
        },
        ("trial", "", "load", "output tokens/s", name),
        [(str(s.row.number), _group(s.row), str(s.load), units.number(s.rate), units.seconds(s.latency)) for s in told],
    )


def _series(view: StudyView, spots: Sequence[_Spot], metric: str, statistic: str) -> list[dict[str, Any]]:
    """The groups; those that people look for come last, so that they lie above the others and say what they are."""
    ordered = sorted(spots, key=lambda spot: _group(spot.row) in _SPECIAL)
    points = spoken(
        [point(s.rate, s.latency, _text(s, metric, statistic), href=view.trial_href(s.row.number)) for s in ordered]
    )
    groups = grouped([_group(spot.row) for spot in ordered], points)
    return [scatter(name, group, **_look(name)) for name, group in groups.items()]


def _far_apart(latencies: Sequence[float]) -> bool:
    """Whether one would press all others to the ground."""
    return min(latencies) > 0 and max(latencies) > 8 * min(latencies)


def _spot(row: TrialRow, metric: str, statistic: str) -> _Spot | None:
    summary = row.record.summary
    found = summary.statistics.get(metric) if summary is not None else None
    if summary is None or found is None:
        return None
    return _Spot(row, summary.load, summary.output_token_rate, float(getattr(found, statistic)))


def _group(row: TrialRow) -> str:
    if row.record.kind is TrialKind.BASELINE:
        return "as found"
    if row.incumbent:
        return "best"
    return "confirmation" if row.record.kind is TrialKind.CONFIRM else row.outcome


def _look(group: str) -> dict[str, Any]:
    if group not in _SPECIAL:
        return {**look(group), "size": 9}
    colour, symbol, size = _SPECIAL[group]
    return {"itemStyle": {"color": colour}, "symbol": symbol, "size": size}


def _text(spot: _Spot, metric: str, statistic: str) -> str:
    changed = units.changed(spot.row.changed).replace(" ", "\n")
    latency = f"{units.METRICS[metric]} {statistic} {units.seconds(spot.latency)}"
    served = f"{units.number(spot.rate)} tokens/s at {spot.load}"
    return f"trial {spot.row.number}, {_group(spot.row)}\n{served}\n{latency}\n{changed}"


def _at(spots: Sequence[_Spot]) -> str:
    """Under which load. A capacity has its own load in each trial: latencies alone do not compare then."""
    loads = {str(spot.load) for spot in spots}
    if len(loads) == 1:
        return f"all at {loads.pop()}"
    return "each at the load that speaks for it, above which its capacity may lie"


def _front(spots: Sequence[_Spot]) -> list[_Spot]:
    """Those of which no other serves as much in less time, by rate."""
    front: list[_Spot] = []
    for spot in sorted(spots, key=lambda one: (-one.rate, one.latency)):
        if not front or spot.latency < front[-1].latency:
            front.append(spot)
    return front[::-1]
