"""How latencies were distributed in one level, or in several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.core.measurement import QUANTILES, Level
from tuner.core.slo import Slo
from tuner.dashboard.pictures.picture import LINES, Picture, axis, line, rules
from tuner.study import units

_TOLD = ("p50", "p90", "p95", "p99", "max")
_SHORT = 1e-6  # a logarithm has no zero


def distributions(levels: Sequence[tuple[str, Level | None]], slos: Sequence[Slo]) -> Iterator[Picture]:
    """For each latency: by percentile, a line for each level that has it. `levels` are names and levels."""
    shown = [(name, level) for name, level in levels if level is not None]
    for metric in units.METRICS:
        found = [(name, level) for name, level in shown if metric in level.quantiles]
        if found:
            yield _distribution(metric, found, [slo for slo in slos if slo.metric.value == metric])


def _distribution(metric: str, found: Sequence[tuple[str, Level]], slos: Sequence[Slo]) -> Picture:
    series = [
        line(
            f"{name}, {level.load}",
            [(percent, max(value, _SHORT)) for percent, value in zip(QUANTILES, level.quantiles[metric], strict=True)],
            colour,
        )
        for (name, level), colour in zip(found, LINES, strict=False)
    ]
    if slos:
        series[0]["markLine"] = rules([(slo.bound, str(slo)) for slo in slos])
    loads = {str(level.load) for _, level in found}
    return Picture(
        f"latency-{metric}",
        units.METRICS[metric],
        f"{units.METRICS[metric]} by percentile: such a share took at most so long"
        + (f", at {loads.pop()}." if len(loads) == 1 else "; the loads differ."),
        {
            "xAxis": axis("percentile", form="plain", min=0, max=100),
            "yAxis": axis("", "log", form="seconds"),
            "legend": {"show": len(series) > 1},
            "tooltip": {"trigger": "axis", "valueFormat": "seconds"},
            "series": series,
        },
        ("", *_TOLD),
        [
            (f"{name}, {level.load}", *(units.seconds(float(getattr(level.statistics[metric], one))) for one in _TOLD))
            for name, level in found
            if metric in level.statistics
        ],
        height=240,
    )
