"""SVG as text: elements, and whole files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from tuner.charts.style import STYLE

# Of a common sans-serif font, so that a text's room is known without a font.
_CHARACTER = 0.6
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; `content` is SVG already. An underscore in an attribute's name stands for a hyphen.

    Numbers are rounded to a tenth of a unit, attributes that are None or empty left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def words(text: str) -> str:
    """Text as content: what XML can't hold is left out."""
    return escape(_NOT_XML.sub("", text))


def label(x: float, y: float, text: str, **attributes: object) -> str:
    """A text with its base line at `y`."""
    return element("text", words(text), x=x, y=y, **attributes)


def width_of(text: str, size: float = 12.0) -> float:
    """How wide a text is, roughly."""
    return _CHARACTER * size * len(text)


def standalone(charts: Sequence[str], width: float, height: float, columns: int = 1) -> str:
    """A file with `charts` of `width` times `height` side by side, on a ground of its own."""
    rows = -(-len(charts) // columns)
    placed = [
        chart.replace("<svg ", f'<svg x="{index % columns * width:g}" y="{index // columns * height:g}" '
                      f'width="{width:g}" height="{height:g}" ', 1)
        for index, chart in enumerate(charts)
    ]  # fmt: skip
    # A chart here has the size of its place, not the width of a container.
    style = STYLE.replace("display:block;width:100%;height:auto;", "")
    box = f"0 0 {columns * width:g} {rows * height:g}"
    content = [f"<style>{style}</style>", '<rect class="chart ground" width="100%" height="100%"/>', *placed]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">\n' + "\n".join(content) + "\n</svg>\n"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return _NOT_XML.sub("", escape(str(value)))
