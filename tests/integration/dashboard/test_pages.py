"""Every page opens, says what it should, and has nothing in it that a strict policy forbids."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import httpx
import pytest

from tests.support.command_line import call
from tuner.core.knob import as_text

PAGES = (
    "/",
    "/?q=small&state=finished&sort=gain&order=asc",
    "/studies/1",
    "/studies/1/trials/0",
    "/studies/1/trials/1",
    "/studies/1/compare",
    "/studies/1/compare?a=0&b=1",
    "/studies/1/today",
    "/studies/1/progress",
    "/compare",
    "/compare?a=1&b=1",
    "/plan",
    "/plan?gpu=h100&model=llama-3.1-8b&gpu_count=1&objective=capacity&set=max_num_seqs%3D64",
)


class _Page(HTMLParser):
    """Collects what a browser would complain about, and what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.loaded: list[str] = []
        self.headings: list[str] = []
        self.ids: list[str] = []
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.bad += [f"<{tag} {name}>" for name in known if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in known and known.get("type") != "application/json":
            self.bad.append("<script> with code")
        if tag == "style":
            self.bad.append("<style>")
        for name in ("src", "href", "action", "hx-get"):
            value = known.get(name) or ""
            if re.match(r"(?:[a-z]+:)?//", value):
                self.loaded.append(value)
        if known.get("id"):
            self.ids.append(str(known["id"]))
        self._in_heading = tag == "h1"

    def handle_data(self, data: str) -> None:
        if self._in_heading and data.strip():
            self.headings.append(data.strip())


def _parse(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    return page


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_opens_and_keeps_to_its_own_policy(reading: httpx.AsyncClient, path: str) -> None:
    said = await reading.get(path)
    assert said.status_code == 200, said.text
    page = _parse(said.text)
    assert page.bad == []
    assert page.loaded == []
    assert len(page.ids) == len(set(page.ids))
    if "<html" in said.text:
        assert len(page.headings) >= 1
    assert "script-src 'self'" in said.headers["content-security-policy"]
    assert "unsafe" not in said.headers["content-security-policy"]
    assert said.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/studies/9", "/studies/1/trials/99", "/studies/9/live", "/nothing", "/studies/9/today"]
)
async def test_what_is_not_there_is_said_so(reading: httpx.AsyncClient, path: str) -> None:
    said = await reading.get(path)
    assert said.status_code == 404
    assert "Not found" in said.text
    assert "Traceback" not in said.text


async def test_a_study_s_page_says_what_would_change_and_what_it_gains(
    reading: httpx.AsyncClient, study_url: str
) -> None:
    shown = json.loads(call("show", "small", "--storage", study_url, "-o", "json").out)
    text = (await reading.get("/studies/1")).text
    assert shown["summary"] in text
    assert shown["result"]["finalist"]
    for knob, value in shown["result"]["finalist"].items():
        assert f"<code>{knob}</code>" in text
        assert f"<ins>{as_text(value)}</ins>" in text
    for trial in shown["trials"]:
        assert (f'/studies/1/trials/{trial["number"]}"' in text) == (trial["outcome"] != "screened")
    names = re.findall(r'data-option="([^"]+)"', text)
    assert {"interval", "confirmation", "progress", "timeline"} <= set(names)
    assert len(names) == len(set(names))


async def test_pictures_are_data_that_a_browser_reads_and_places_for_it(reading: httpx.AsyncClient) -> None:
    for path in ("/studies/1", "/studies/1/trials/1", "/studies/1/compare?a=0&b=1"):
        text = (await reading.get(path)).text
        found = re.findall(r'<script type="application/json" data-option="([^"]+)">(.*?)</script>', text, re.DOTALL)
        assert found
        for name, option in found:
            series = json.loads(option)["series"]
            assert series, name
            assert f'data-picture="{name}"' in text
            assert any(one["data"] for one in series), name


async def test_a_list_is_filtered_and_sorted_by_its_address(reading: httpx.AsyncClient) -> None:
    assert ">small</a>" in (await reading.get("/?q=SMALL")).text
    nothing = (await reading.get("/?q=something+else")).text
    assert ">small</a>" not in nothing
    assert "0 of 1" in nothing
    assert ">small</a>" not in (await reading.get("/?state=searching")).text
    assert 'aria-sort="ascending"' in (await reading.get("/?sort=gain&order=asc")).text


async def test_a_list_of_nonsense_is_a_list(reading: httpx.AsyncClient) -> None:
    assert (await reading.get("/?sort=%00&order=sideways&state=none")).status_code == 200
    for number in ("-7", "0", "99999999999999999999999", "x"):
        assert (await reading.get(f"/?number={number}")).status_code == 422


async def test_a_plan_says_what_plan_says(reading: httpx.AsyncClient) -> None:
    text = (await reading.get("/plan?gpu=l4&model=llama-3.1-70b&gpu_count=1")).text
    assert "GPU" in text
    assert "does not start" in text or 'role="alert"' in text


@pytest.mark.parametrize(
    "query", ["gpu=h100&model=/etc/passwd", "gpu=../../x&model=llama-3.1-8b", "gpu=h100&model=llama-3.1-8b&gpu_count=x"]
)
async def test_a_plan_reads_no_files_and_complains_in_words(reading: httpx.AsyncClient, query: str) -> None:
    said = await reading.get(f"/plan?{query}")
    assert said.status_code == 200
    assert 'role="alert"' in said.text
    assert "allowed" in said.text


async def test_a_plan_asks_for_no_more_than_a_page_works_out(reading: httpx.AsyncClient) -> None:
    much = "/plan?gpu=h100&model=llama-3.1-8b&objective=throughput&concurrency=100000&output_tokens=1e9"
    text = (await reading.get(much)).text
    assert "concurrency: 100000 is more than a page works out" in text
    assert "output tokens: 1e9 is more" in text
    across = await reading.get(much, headers={"sec-fetch-site": "cross-site"})
    assert across.status_code == 403


async def test_there_is_nothing_to_sign_in_for_where_nothing_can_be_done(reading: httpx.AsyncClient) -> None:
    assert (await reading.get("/sign-in")).status_code == 403
