"""Names and texts that come from elsewhere stay texts, wherever they are shown."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from tests.integration.dashboard.conftest import SAME_SITE, Open
from tuner.core.cause import Cause, Failure
from tuner.core.knob import Candidate
from tuner.dashboard.document import document
from tuner.dashboard.views.study import StudyView
from tuner.store import Decision, Store, TrialKind

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{7*7}}\u2028"


@pytest.fixture
def hostile(database: str) -> str:
    """The study's own text, replaced by something that would like to be more."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    with Store.open(database) as store:
        first = store.studies()[0]
        info = {**first.info, "model": NASTY, "gpu": NASTY, "by": NASTY, "engine": "vllm", "version": NASTY}
        study = store.create_study(name=NASTY, spec=first.spec, target=NASTY, info=info, now=now)
        for reason in (NASTY, "second"):
            trial = store.add_trial(
                study.id,
                kind=TrialKind.BASELINE,
                candidate=Candidate.of({"max_num_seqs": NASTY}),
                reason=reason,
                ticket=None,
                now=now,
            )
            failure = Failure(Cause.UNKNOWN, NASTY, evidence=NASTY, hint={NASTY: 1})
            store.record(trial.id, verdict=None, failure=failure, start_s=3.0, gpu_s=3.0, now=now)
        store.reviews.add(study.id, Decision.REJECTED, NASTY, NASTY, now, vouched=False)
    return database


class _Elements(HTMLParser):
    """Counts the elements that would do something."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.others: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        data = ("type", "application/json") in attrs
        known = dict(attrs)
        if tag == "script" and not data and not (known.get("src") or "").startswith("/static/"):
            self.scripts += 1
        if tag in ("img", "iframe", "object", "embed") or any(name.startswith("on") for name in known):
            self.others.append(tag)


def _clean(text: str, scripts: int = 0) -> bool:
    """Whether nothing is in it that would do something, but for so many scripts of its own."""
    page = _Elements()
    page.feed(text)
    return page.scripts == scripts and not page.others


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/studies/2",
        "/studies/2/trials/0",
        "/studies/2/compare?a=0&b=1",
        "/compare?a=1&b=2",
        "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
    ],
)
async def test_no_page_lets_it_out(hostile: str, opened: Open, path: str) -> None:
    assert hostile
    async with opened() as client:
        said = await client.get(path)
        assert said.status_code == 200, said.text
        assert _clean(said.text)
        for option in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', said.text, re.DOTALL):
            json.loads(option)


def test_no_file_lets_it_out(hostile: str) -> None:
    with Store.open(hostile, read_only=True) as store:
        text = document(StudyView(store.study_by_id(2), store.trials(2, short=True)))
    assert _clean(text, scripts=3)


def test_the_tests_would_notice() -> None:
    assert not _clean(NASTY)
    assert not _clean("<script>1</script>")
    assert not _clean('<a href="/" onclick="x()">')
    assert _clean('<script type="application/json">{}</script><script src="/static/page.js"></script>')


async def test_no_header_is_more_than_a_header(hostile: str, opened: Open) -> None:
    assert hostile
    async with opened() as client:
        said = await client.get("/studies/2/report")
        assert said.status_code == 200
        assert re.fullmatch(r'attachment; filename="[\w.-]+\.html"', said.headers["content-disposition"])


async def test_a_comment_is_kept_as_it_was_written_and_shown_as_text(reviewing: httpx.AsyncClient) -> None:
    csrf = (await reviewing.get("/studies/1")).text.split('name="csrf" value="')[1].split('"')[0]
    sent = {"decision": "rejected", "comment": NASTY, "csrf": csrf}
    assert (await reviewing.post("/studies/1/reviews", data=sent, headers=SAME_SITE)).status_code == 303
    (review,) = (await reviewing.get("/api/v1/studies/1/reviews")).json()
    assert review["comment"] == NASTY.strip()
    assert _clean((await reviewing.get("/studies/1")).text)


def test_our_own_files_end_no_element() -> None:
    static = Path(__file__).parents[3] / "tuner" / "dashboard" / "static"
    for file in static.rglob("*.js"):
        assert "</script" not in file.read_text().lower()
