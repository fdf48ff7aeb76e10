"""A level second by second: what was sent, what came, and what the engine showed of itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tuner.core.measurement import Level, Timeline
from tuner.dashboard.pictures.levels import amount
from tuner.dashboard.pictures.picture import LINES, Picture, axis, line
from tuner.study import units

_MOST_ROWS = 60  # of a table: a minute of it second by second, a longer level in as many steps
_Curve = Callable[[Timeline], Sequence[float | None]]


@dataclass(frozen=True)
class _Shown:
    """One picture over time, and its lines."""

    name: str
    title: str
    unit: str
    form: str
    curves: Sequence[tuple[str, _Curve]]


_PICTURES = (
    _Shown(
        "requests",
        "Requests in the engine",
        "requests",
        "plain",
        (
            ("sent and not ended", lambda time: time.in_flight),
            ("running", lambda time: time.server_running),
            ("waiting", lambda time: time.server_waiting),
        ),
    ),
    _Shown("kv", "KV cache in use", "share", "share", (("KV cache", lambda time: time.kv_usage),)),
    _Shown(
        "tokens",
        "Output tokens",
        "tokens/s",
        "plain",
        (("tokens/s", lambda time: [tokens / time.bin_s for tokens in time.output_tokens]),),
    ),
    _Shown("ttft-time", "TTFT over time", "median", "seconds", (("TTFT", lambda time: time.ttft_s),)),
)


def running(level: Level | None) -> Iterator[Picture]:
    """The pictures of one level; what the engine does not show of itself is left out."""
    time = level.timeline if level is not None else None
    if level is None or time is None:
        return
    for one in _PICTURES:
        drawn = [(name, points) for name, curve in one.curves if (points := _points(time, curve))]
        lines = [line(name, points, colour) for (name, points), colour in zip(drawn, LINES, strict=False)]
        if lines:
            yield Picture(
                one.name,
                one.title,
                f"{one.title}, second by second, while the level at {units.number(amount(level.load))} "
                f"{'requests/s' if level.load.rate is not None else 'clients'} was held.",
                {
                    "xAxis": axis("seconds since the level began", form="plain", min=0),
                    "yAxis": axis(one.unit, form=one.form, min=0),
                    "legend": {"show": len(lines) > 1},
                    "tooltip": {"trigger": "axis", "valueFormat": one.form},
                    "series": lines,
                },
                ("seconds", *(name for name, _ in drawn)),
                _rows(one, [points for _, points in drawn]),
                height=220,
            )


def _points(time: Timeline, curve: _Curve) -> list[tuple[float, float | None]]:
    """Through the middles of the bins; the engine is not looked at in each of them."""
    heights = [((at + 0.5) * time.bin_s, height) for at, height in enumerate(curve(time))]
    return [(when, height) for when, height in heights if height is not None]


def _rows(shown: _Shown, curves: Sequence[Sequence[tuple[float, float | None]]]) -> list[tuple[str, ...]]:
    """Heights by time; of a long level every second bin, every third, and so on."""
    heights = [dict(points) for points in curves]
    times = sorted({when for one in heights for when in one})
    return [
        (units.plain(when), *(_written(shown, one.get(when)) for one in heights))
        for when in times[:: math.ceil(len(times) / _MOST_ROWS)]
    ]


def _written(shown: _Shown, height: float | None) -> str:
    if height is None:
        return "—"
    if shown.form == "share":
        return f"{height:.1%}"
    return units.seconds(height) if shown.form == "seconds" else units.number(height)
