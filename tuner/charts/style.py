"""How charts look: one style sheet, with colours that people who see few of them can tell apart, light and dark."""

from __future__ import annotations

#: How many series have a colour of their own; more begin again with the first.
COLOURS = 6

_LIGHT = ("#1f6fd0", "#b8500f", "#13795b", "#8b45b5", "#8a6a00", "#5b6670")
_DARK = ("#6cabf7", "#f59a5c", "#4cc99b", "#cb9cf2", "#dcbb4a", "#a9b4be")


def _variables(series: tuple[str, ...], text: str, grid: str, bound: str, ground: str) -> str:
    numbered = "".join(f"--series-{number}:{colour};" for number, colour in enumerate(series))
    return f"{numbered}--text:{text};--grid:{grid};--bound:{bound};--chart-ground:{ground}"


_BY_DAY = _variables(_LIGHT, "#1f2328", "#d8dee4", "#c11f2f", "#fff")
_BY_NIGHT = _variables(_DARK, "#dfe5eb", "#3a424b", "#ff7b84", "#14181d")

#: For a page that shows charts, once; a page that has its own colours sets the variables anew.
STYLE = "\n".join(
    [
        f".chart{{{_BY_DAY};display:block;width:100%;height:auto;font:12px system-ui,sans-serif}}",
        f"@media(prefers-color-scheme:dark){{.chart{{{_BY_NIGHT}}}}}",
        ".ground{fill:var(--chart-ground)}",
        ".chart text{fill:var(--text)}",
        ".chart .title{font-weight:600;font-size:14px}",
        ".chart .grid{stroke:var(--grid);stroke-width:1}",
        ".chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}",
        ".chart .dashed{stroke-dasharray:5 4}",
        ".chart .rule{stroke:var(--bound);stroke-width:1.5;stroke-dasharray:2 3}",
        # Where a line passes behind the name, the name can be read all the same.
        ".chart text.bound{fill:var(--bound);paint-order:stroke;stroke:var(--chart-ground);stroke-width:4px}",
        *(f".chart .line.s{number}{{stroke:var(--series-{number})}}" for number in range(COLOURS)),
        *(f".chart .mark.s{number}{{fill:var(--series-{number})}}" for number in range(COLOURS)),
    ]
)
