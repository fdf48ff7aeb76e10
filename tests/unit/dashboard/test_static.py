"""What browsers get: others' files as their makers published them, and ours."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from tuner.dashboard.templating import STATIC

VENDORED = {
    "echarts.common.min.js": "61f13280aba3161f77fc801bf5f9c786f55f10432153a0683fc5cc0700b013d5",
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}


def test_others_files_are_as_they_were_published() -> None:
    found = {file.name: sha256(file.read_bytes()).hexdigest() for file in (STATIC / "vendor").glob("*.js")}
    assert found == VENDORED


@pytest.mark.parametrize("name", ["style.css", "charts.js", "page.js", "icon.svg"])
def test_ours_load_nothing(name: str) -> None:
    text = (STATIC / name).read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import|fetch\(|import\(", text)


def test_every_colour_that_pictures_name_is_one_of_the_style() -> None:
    style = (STATIC / "style.css").read_text()
    pictures = "".join(file.read_text() for file in (STATIC.parent / "pictures").glob("*.py"))
    named = set(re.findall(r'"@(\w+)"', pictures))
    assert named
    assert named <= set(re.findall(r"--(\w+): light-dark", style))


def test_colours_that_only_tell_lines_apart_say_nothing_of_an_outcome() -> None:
    colours = dict(re.findall(r"--(\w+): light-dark\(([^)]*)\)", (STATIC / "style.css").read_text()))
    said = {colours[name] for name in ("pass", "fail", "uncertain", "baseline")}
    lines = [colours[f"line{number}"] for number in range(1, 7)]
    assert said.isdisjoint(lines)
    assert len(set(lines)) == len(lines)
