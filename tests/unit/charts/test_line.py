"""A chart is well-formed, says what it shows, and keeps within its box."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from hypothesis import given
from hypothesis import strategies as st

from tuner.charts import STYLE, Axis, Kind, Rule, Series, line_chart, standalone

SVG = "{http://www.w3.org/2000/svg}"
X, Y = Axis("requests/s"), Axis("TTFT", lambda value: f"{value * 1e3:g} ms", Kind.LOG)
TWO = (Series("p50", [(2.0, 0.05), (4.0, 0.07)], marks=True), Series("p95", [(2.0, 0.09), (4.0, 0.3)], dashed=True))


def _texts(root: Xml.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_a_chart_says_what_it_shows_in_words_too() -> None:
    root = Xml.fromstring(line_chart("ttft", "TTFT against rate", X, Y, TWO, description="It grows."))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "ttft-title ttft-description"
    assert [(one.get("id"), one.text) for one in root if one.tag in (f"{SVG}title", f"{SVG}desc")] == [
        ("ttft-title", "TTFT against rate"),
        ("ttft-description", "It grows."),
    ]
    assert {"TTFT against rate", "TTFT", "requests/s", "p50", "p95"} <= set(_texts(root))


def test_a_mark_tells_its_values_to_a_pointer() -> None:
    root = Xml.fromstring(line_chart("a", "A", X, Y, TWO))
    tips = [mark[0].text for mark in root.iter(f"{SVG}circle")]
    assert tips == ["p50: 50 ms at 2 requests/s", "p50: 70 ms at 4 requests/s"]


def test_one_line_needs_no_legend_and_each_of_several_has_its_own_look() -> None:
    assert "p50" not in _texts(Xml.fromstring(line_chart("a", "A", X, Y, TWO[:1])))
    drawn = line_chart("a", "A", X, Y, TWO)
    assert drawn.count('class="line s0"') == 2  # in the legend and as itself
    assert drawn.count('class="line s1 dashed"') == 2


def test_a_bound_is_drawn_within_the_chart_with_its_name() -> None:
    root = Xml.fromstring(line_chart("a", "A", X, Y, TWO, rules=[Rule(3.0, "ttft p95 <= 3s")]))
    (rule,) = (path for path in root.iter(f"{SVG}path") if path.get("class") == "rule")
    assert "ttft p95 <= 3s" in _texts(root)
    assert 0 < float(re.findall(r"[\d.]+", rule.get("d", ""))[1]) < 290


def test_the_name_of_a_bound_hides_no_point_that_it_need_not() -> None:
    def anchor(x: float) -> str | None:
        points = [(1.0, 0.01), (x, 0.52), (9.0, 5.0)]
        drawn = line_chart("a", "A", X, Y, [Series("p50", points, marks=True)], rules=[Rule(0.5, "bound")])
        (name,) = (text for text in Xml.fromstring(drawn).iter(f"{SVG}text") if text.get("class") == "bound")
        return name.get("text-anchor")

    assert (anchor(5.0), anchor(9.0)) == ("end", "start")


def test_a_line_is_interrupted_where_nothing_is_known() -> None:
    gap = Series("x", [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, 2.0), (4.0, 1.0)])
    root = Xml.fromstring(line_chart("a", "A", Axis("s"), Axis("n"), [gap]))
    (line,) = (path for path in root.iter(f"{SVG}path") if path.get("class") == "line s0")
    assert re.sub(r"[^ML]", "", line.get("d", "")) == "MLML"


def test_where_nothing_was_measured_the_chart_says_so() -> None:
    for series in ([], [Series("x", [])], [Series("x", [(1.0, None)])]):
        root = Xml.fromstring(line_chart("a", "A", X, Y, series, rules=[Rule(1.0, "bound")]))
        assert "nothing was measured" in _texts(root)
        assert "bound" not in _texts(root)


def test_names_are_text_whatever_is_in_them() -> None:
    drawn = line_chart("a", "<b>&\x00", X, Y, [Series('"<script>', [(1.0, 1.0)], marks=True)])
    assert "<b>&" in _texts(Xml.fromstring(drawn))
    assert "<script>" not in drawn


numbers = st.just(0.0) | st.floats(1e-9, 1e7)
points = st.lists(st.tuples(numbers, st.none() | numbers), max_size=20)


@given(st.lists(points, max_size=8), st.sampled_from(Kind), st.sampled_from([Kind.LINEAR, Kind.LOG]))
def test_nothing_leaves_the_box_and_all_of_it_is_xml(lines: list[list], x: Kind, y: Kind) -> None:  # type: ignore[type-arg]
    series = [Series(f"line {number}", line, marks=True) for number, line in enumerate(lines)]
    root = Xml.fromstring(line_chart("a", "A", Axis("x", kind=x), Axis("y", kind=y), series, rules=[Rule(5.0, "b")]))
    _, _, width, height = (float(part) for part in root.get("viewBox", "").split())
    for mark in root.iter(f"{SVG}circle"):
        assert 0 <= float(mark.get("cx", "nan")) <= width
        assert 0 <= float(mark.get("cy", "nan")) <= height
    for path in root.iter(f"{SVG}path"):
        for step in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.get("d", "")):
            assert 0 <= float(step[0]) <= width
            assert 0 <= float(step[1]) <= height


def test_a_file_of_its_own_has_its_style_and_nothing_from_outside() -> None:
    drawn = standalone([line_chart(name, name, X, Y, TWO) for name in "abc"], 420, 290, columns=2)
    root = Xml.fromstring(drawn)
    assert root.get("viewBox") == "0 0 840 580"
    assert [(one.get("x"), one.get("y")) for one in root.findall(f"{SVG}svg")] == [
        ("0", "0"),
        ("420", "0"),
        ("0", "290"),
    ]
    assert set(re.findall(r"https?://[^\"]+", drawn)) == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme:dark" in STYLE
