"""`tuner report`: one file, that loads nothing and runs nothing but what its own policy names."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from pathlib import Path

import httpx

from tests.support.command_line import call


def test_the_file_stands_alone(study_url: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    said = call("report", "small", "--storage", study_url, "-o", str(path))
    assert said.code == 0, said.err
    text = path.read_text()
    outside = re.sub(r"<(script|style)[ >].*?</\1>", "", text, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href|action)="(?!#)[^"]*"', outside)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src &#39;none&#39;" in policy
    blocks = re.findall(r"<(script|style)>(.*?)</\1>", text, re.DOTALL)
    assert len(blocks) == 4
    for _, block in blocks:
        assert base64.b64encode(sha256(block.encode()).digest()).decode() in policy
    anchors = set(re.findall(r'href="#([^"]+)"', outside))
    assert anchors <= set(re.findall(r'id="([^"]+)"', outside))


def test_a_folder_that_is_not_there_is_named(study_url: str, tmp_path: Path) -> None:
    said = call("report", "small", "--storage", study_url, "-o", str(tmp_path / "no" / "x.html"))
    assert said.code == 2
    assert "no/x.html" in said.err


def test_it_is_printed_where_that_is_asked_for(study_url: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    call("report", "small", "--storage", study_url, "-o", str(path))
    assert call("report", "small", "--storage", study_url, "-o", "-").out == path.read_text()


async def test_the_page_s_own_download_stands_alone_too(reading: httpx.AsyncClient) -> None:
    text = (await reading.get("/studies/1/report")).text
    outside = re.sub(r"<(script|style)[ >].*?</\1>", "", text, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href|action)="(?!#)[^"]*"', outside)
