"""Draws docs/images/study.svg from a run of studies/demo.yaml: `python docs/images/make.py` (about a minute)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 860, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 80
GREY, GREEN, AMBER, BLUE = "#6b7280", "#15803d", "#b45309", "#1d4ed8"

Trial = Mapping[str, Any]


def main() -> None:
    """Run the study and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["start", "-f", str(ROOT / "studies" / "demo.yaml"), "--storage", f"sqlite:///{folder}/demo.db"]
        done = subprocess.run(
            [sys.executable, "-m", "tuner", *command, "--yes", "-o", "json"], capture_output=True, text=True, check=True
        )
    (Path(__file__).parent / "study.svg").write_text(picture(json.loads(done.stdout)), encoding="utf-8")


def picture(study: Mapping[str, Any]) -> str:
    """The study as SVG: a point for each trial, the baseline as a line, the confirmation apart."""
    trials = [trial for trial in study["trials"] if trial["outcome"] != "screened"]
    values = [trial["value"] for trial in trials if trial["value"]]
    scale = _Scale(len(trials), 1.1 * max(values))
    parts = [*_axes(scale), *_baseline(trials, scale), *_confirmation(trials, scale)]
    parts += [part for index, trial in enumerate(trials) for part in _point(index, trial, scale)]
    title = f"{study['target'].partition('/')[2]} (simulated): {study['summary']}"
    style = "font-family: system-ui, sans-serif; font-size: 13px"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{style}" role="img">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            _text(LEFT, 26, title, anchor="start", weight="bold"),
            *parts,
            *_legend(),
            "</svg>\n",
        ]
    )


class _Scale:
    """Places of trials and values."""

    def __init__(self, count: int, most: float) -> None:
        self.count, self.most = count, most

    def x(self, index: float) -> float:
        """Of a trial by its position."""
        return LEFT + (index + 0.5) * (WIDTH - LEFT - RIGHT) / self.count

    def y(self, value: float) -> float:
        """Of a value in output tokens/s."""
        return HEIGHT - BOTTOM - value / self.most * (HEIGHT - TOP - BOTTOM)


def _axes(scale: _Scale) -> Iterator[str]:
    step = next(step for step in (100, 200, 500, 1000, 2000, 5000) if scale.most / step <= 8)
    for value in range(0, int(scale.most) + 1, step):
        y = scale.y(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>'
        yield _text(LEFT - 8, y + 4, f"{value:,}", anchor="end")
    yield _text(LEFT, TOP - 12, "output tokens/s within the SLOs", anchor="start")


def _baseline(trials: Sequence[Trial], scale: _Scale) -> Iterator[str]:
    value = next((trial["value"] for trial in trials if trial["kind"] == "baseline"), None)
    if value:
        y = scale.y(value)
        line = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        yield f'<line {line} stroke="{GREY}" stroke-dasharray="4 4"/>'


def _confirmation(trials: Sequence[Trial], scale: _Scale) -> Iterator[str]:
    first = next((index for index, trial in enumerate(trials) if trial["kind"] == "confirm"), None)
    if first is not None:
        x = scale.x(first - 0.5)
        box = f'x="{x:.1f}" y="{TOP - 4}" width="{WIDTH - RIGHT - x:.1f}" height="{HEIGHT - TOP - BOTTOM + 8}"'
        yield f'<rect {box} fill="{BLUE}" opacity="0.06"/>'
        yield _text(x, TOP - 12, "confirmation: fresh starts of both", anchor="start", colour=BLUE)


def _point(index: int, trial: Trial, scale: _Scale) -> Iterator[str]:
    x = scale.x(index)
    yield _text(x, HEIGHT - BOTTOM + 18, str(trial["number"]))
    value = trial["value"]
    ours = trial["kind"] == "baseline" or trial["reason"].endswith("baseline on a fresh start")
    colour = GREY if ours else GREEN
    tip = f"<title>{escape(str(trial['candidate'] or 'engine defaults'))}</title>"
    if value is None:
        yield f'<text x="{x:.1f}" y="{scale.y(0) - 4:.1f}" text-anchor="middle" fill="{AMBER}">✕{tip}</text>'
        return
    y = scale.y(value)
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{scale.y(0):.1f}" y2="{y:.1f}" stroke="{colour}" opacity="0.35"/>'
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}">{tip}</circle>'
    yield _text(x, y - 10, f"{value:,.0f}", colour=colour)


def _legend() -> Iterator[str]:
    y = HEIGHT - 24
    yield _text(LEFT, y, "trial, in the order of starts:", anchor="start")
    for x, mark, colour, words in (
        (270, "●", GREY, "what was found on the target"),
        (490, "●", GREEN, "a candidate that met the SLOs"),
        (715, "✕", AMBER, "one that did not"),
    ):
        yield _text(x, y, mark, colour=colour)
        yield _text(x + 12, y, words, anchor="start")


def _text(x: float, y: float, words: str, *, anchor: str = "middle", colour: str = "#111827", weight: str = "") -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{bold}>{escape(words)}</text>'


if __name__ == "__main__":
    main()
