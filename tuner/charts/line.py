"""A chart of lines: one quantity against another, whether that is time, load or a percentile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tuner.charts.scale import Axis, Scale
from tuner.charts.style import COLOURS
from tuner.charts.svg import element, label, width_of, words

# Units of the view box. At the width of a narrow phone the texts are still ten pixels high.
WIDTH, HEIGHT = 360.0, 270.0
_LINE, _GAP, _SWATCH = 18.0, 12.0, 18.0
_MARGIN = 10.0
_MARK = 3.5

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Series:
    """One line. `points` are in the order in which they are joined; where y is None the line is interrupted.

    With `marks` each point can be seen, and tells its values to a pointer that rests on it.
    """

    name: str
    points: Sequence[Point]
    marks: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Rule:
    """A bound on y, drawn across the chart with its name."""

    at: float
    name: str


def line_chart(
    name: str,
    title: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    *,
    rules: Sequence[Rule] = (),
    description: str = "",
) -> str:
    """A line chart as one SVG element, without its style (see `STYLE`).

    `name` is a word that no other chart of the page has. `description` says in a sentence what the picture shows, for
    those who can't see it. Where there is nothing to draw, the chart says so.
    """
    return _Chart(name, title, x, y, tuple(series), tuple(rules), description).draw()


@dataclass
class _Chart:
    name: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...]
    description: str
    across: Scale = field(init=False)
    up: Scale = field(init=False)

    def __post_init__(self) -> None:
        points = [point for one in self.series for point in one.points]
        self.across = Scale.over(self.x, [x for x, _ in points])
        heights = [y for _, y in points if y is not None]
        self.up = Scale.over(self.y, [*heights, *(rule.at for rule in self.rules)] if heights else [])
        self.empty = not heights
        self.top = _MARGIN + 2 * _LINE + 6 + _LINE * len(self._legend_rows())
        self.bottom = HEIGHT - _MARGIN - 2 * _LINE
        self.left = _MARGIN + max(width_of(self.y.text(tick)) for tick in self.up.ticks) + 6
        self.right = WIDTH - _MARGIN - 6

    def draw(self) -> str:
        ids = f"{self.name}-title", f"{self.name}-description"
        parts = [
            element("title", words(self.title), id=ids[0]),
            element("desc", words(self.description or self.title), id=ids[1]),
            label(_MARGIN, _MARGIN + 12, self.title, class_="title"),
            *self._legend(),
            *self._axes(),
        ]
        if self.empty:
            middle = (self.left + self.right) / 2, (self.top + self.bottom) / 2
            parts.append(label(*middle, "nothing was measured", text_anchor="middle"))
        else:
            parts += [*self._rules(), *self._lines(), *self._names_of_rules()]
        return element(
            "svg",
            "\n".join(parts),
            xmlns="http://www.w3.org/2000/svg",
            class_="chart",
            viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
            role="img",
            aria_labelledby=" ".join(ids),
        )

    # --- places -----------------------------------------------------------------------------------------------------

    def _x(self, value: float) -> float | None:
        place = self.across.place(value)
        return None if place is None else self.left + place * (self.right - self.left)

    def _y(self, value: float | None) -> float | None:
        place = None if value is None else self.up.place(value)
        return None if place is None else self.bottom - place * (self.bottom - self.top)

    # --- around the lines -------------------------------------------------------------------------------------------

    def _legend_rows(self) -> list[list[tuple[int, Series]]]:
        """Which series stand side by side; a single line needs no legend beside the chart's title."""
        rows: list[list[tuple[int, Series]]] = []
        room = 0.0
        for number, one in enumerate(self.series if len(self.series) > 1 else ()):
            width = _SWATCH + 4 + width_of(one.name) + _GAP
            if not rows or room < width:
                rows.append([])
                room = WIDTH - 2 * _MARGIN
            rows[-1].append((number, one))
            room -= width
        return rows

    def _legend(self) -> Iterator[str]:
        y = _MARGIN + 12.0
        for row in self._legend_rows():
            x, y = _MARGIN, y + _LINE
            for number, one in row:
                yield element("path", d=f"M{x:.1f} {y - 4:.1f}h{_SWATCH:g}", class_=_line_class(number, one))
                yield label(x + _SWATCH + 4, y, one.name)
                x += _SWATCH + 4 + width_of(one.name) + _GAP

    def _axes(self) -> Iterator[str]:
        yield label(_MARGIN, self.top - 12, self.y.label)
        yield label(self.right, self.bottom + 2 * _LINE, self.x.label, text_anchor="end")
        free = self.bottom + _LINE
        for tick in self.up.ticks:
            if (y := self._y(tick)) is not None:
                yield element("path", d=f"M{self.left:.1f} {y:.1f}H{self.right:.1f}", class_="grid")
                if y <= free:
                    yield label(self.left - 6, y + 4, self.y.text(tick), text_anchor="end")
                    free = y - _LINE
        free = 0.0
        for tick in self.across.ticks:
            if (x := self._x(tick)) is not None:
                yield element("path", d=f"M{x:.1f} {self.top:.1f}V{self.bottom:.1f}", class_="grid")
                text = self.x.text(tick)
                half = width_of(text) / 2
                place = min(x, WIDTH - half)
                if place - half >= free:
                    yield label(place, self.bottom + _LINE - 2, text, text_anchor="middle")
                    free = place + half + 4

    def _rules(self) -> Iterator[str]:
        for rule in self.rules:
            if (y := self._y(rule.at)) is not None:
                yield element("path", d=f"M{self.left:.1f} {y:.1f}H{self.right:.1f}", class_="rule")

    def _names_of_rules(self) -> Iterator[str]:
        """A rule's name stands at the end where it hides the least, above the rule where there is room."""
        for rule in self.rules:
            if (y := self._y(rule.at)) is not None:
                base = y - 4 if y - 4 > self.top + _LINE else y + 13
                width = width_of(rule.name)
                ends = {"end": self.right - 4 - width, "start": self.left + 4}
                side = min(ends, key=lambda end: self._hidden(ends[end], ends[end] + width, base - 12, base + 4))
                at = self.right - 4 if side == "end" else self.left + 4
                yield label(at, base, rule.name, class_="bound", text_anchor=side)

    def _hidden(self, left: float, right: float, top: float, bottom: float) -> int:
        """How many points lie in a box."""
        places = ((self._x(x), self._y(y)) for one in self.series for x, y in one.points)
        return sum(x is not None and y is not None and left <= x <= right and top <= y <= bottom for x, y in places)

    # --- the lines --------------------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[str]:
        for number, one in enumerate(self.series):
            if path := self._path(one.points):
                yield element("path", d=path, class_=_line_class(number, one))
            if one.marks:
                yield from self._marks(number, one)

    def _path(self, points: Sequence[Point]) -> str:
        steps, joined = [], False
        for x, y in points:
            place = self._x(x), self._y(y)
            if place[0] is None or place[1] is None:
                joined = False
                continue
            steps.append(f"{'L' if joined else 'M'}{place[0]:.1f} {place[1]:.1f}")
            joined = True
        return "".join(steps)

    def _marks(self, number: int, one: Series) -> Iterator[str]:
        for x, y in one.points:
            place = self._x(x), self._y(y)
            if y is None or None in place:
                continue
            said = f"{one.name}: {self.y.text(y)} at {self.x.text(x)} {self.x.label}"
            tip = element("title", words(said))
            yield element("circle", tip, cx=place[0], cy=place[1], r=_MARK, class_=f"mark s{number % COLOURS}")


def _line_class(number: int, one: Series) -> str:
    return f"line s{number % COLOURS}{' dashed' if one.dashed else ''}"
