"""A picture: what the chart library is told, and the same in words and as a table for those who can't see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tuner.dashboard.views import MOST_ROWS

#: Colours by what they mean; the page has a value for each, by day and by night.
PASS, FAIL, UNCERTAIN, SOFT, ACCENT, BASELINE = "@pass", "@fail", "@uncertain", "@soft", "@accent", "@baseline"
#: Colours that only tell lines apart.
LINES = ("@line1", "@line2", "@line3", "@line4", "@line5", "@line6")
_SPOKEN = 100  # points that say what they are: the weight of a page lies in their words
_DIGITS = 6  # of a number in a picture: more than any screen has pixels

_T = TypeVar("_T")


@dataclass(frozen=True)
class Picture:
    """One chart. `name` is a word that no other chart of the page has, `text` says in a sentence what is to be seen.

    `columns` and `rows` are the same numbers as a table, behind a summary that opens. `height` is in CSS pixels.
    """

    name: str
    title: str
    text: str
    option: Mapping[str, Any]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)
    height: int = 280
    wide: bool = False  # takes the whole width of a page


def newest(found: Sequence[_T], what: str, most: int = MOST_ROWS) -> tuple[Sequence[_T], str]:
    """The last of what was found, and what to say of it behind a picture's sentence: nothing where it is all."""
    if len(found) <= most:
        return found, ""
    return found[-most:], f" {what} the newest {most} of {len(found):,}."


def spoken(points: Sequence[dict[str, Any]], most: int = _SPOKEN) -> list[Any]:
    """The same points, oldest first, of which only the last say what they are and lead somewhere."""
    silent = len(points) - most
    return [_bare(one) if at < silent else one for at, one in enumerate(points)]


def _bare(one: Mapping[str, Any]) -> Any:
    """A point without its words; one that has only a place is written as that."""
    rest = {key: value for key, value in one.items() if key not in ("text", "href")}
    return rest["value"] if set(rest) == {"value"} else rest


def grouped(names: Iterable[str], things: Iterable[_T]) -> dict[str, list[_T]]:
    """Things by the name of their group, groups in the order they first come."""
    found: dict[str, list[_T]] = {}
    for name, thing in zip(names, things, strict=True):
        found.setdefault(name, []).append(thing)
    return found


def axis(name: str, kind: str = "value", form: str | None = None, **more: Any) -> dict[str, Any]:
    """One axis; its numbers are written by the format `form`."""
    label = {"axisLabel": {"format": form}} if form else {}
    return {"type": kind, "name": name, "nameLocation": "middle", **label, **more}


def rules(bounds: Sequence[tuple[float, str]], across: str = "yAxis", colour: str = FAIL) -> dict[str, Any]:
    """Bounds as dashed lines across a chart, each with its name."""
    place = {"position": "insideEndTop"} if across == "yAxis" else {"position": "end", "rotate": 0}
    return {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"color": colour, "type": "dashed"},
        "data": [
            {across: at, "label": {"show": bool(name), "formatter": name, "color": colour, **place}}
            for at, name in bounds
        ],
    }


def point(x: float | str, y: float, text: str, href: str | None = None, **more: Any) -> dict[str, Any]:
    """One point of a scatter: where it is (by a number, or a name), what it says, and where a click on it leads."""
    found: dict[str, Any] = {"value": [x if isinstance(x, str) else rounded(x), rounded(y)], "text": text, **more}
    if href is not None:
        found["href"] = href
    return found


def rounded(value: float) -> float:
    """A number as a picture needs it."""
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")


def scatter(name: str, points: Sequence[Any], size: int = 10, **more: Any) -> dict[str, Any]:
    """A series of points."""
    return {"type": "scatter", "name": name, "symbolSize": size, "data": list(points), **more}


def line(name: str, points: Sequence[Sequence[float | None]], colour: str, **more: Any) -> dict[str, Any]:
    """A series of points that a line joins; `dashed` and `step` as one would think."""
    style = {"color": colour, "width": 2, "type": "dashed" if more.pop("dashed", False) else "solid"}
    return {
        "type": "line",
        "name": name,
        "showSymbol": False,
        "data": [list(one) for one in points],
        "itemStyle": {"color": colour},
        "lineStyle": style,
        **more,
    }


#: A tooltip that says the text of the point under the pointer.
TOLD: Mapping[str, Any] = {"trigger": "item", "told": True}
