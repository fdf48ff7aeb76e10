"""What people do with the dashboard, done in a browser."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.support.browser import TOKEN, Opened
from tests.support.command_line import command, environment
from tests.support.dashboard import Dashboard, serving

pytestmark = pytest.mark.browser

PAGES = (
    "/",
    "/studies/1",
    "/studies/1/trials/1",
    "/studies/1/compare?a=0&b=1",
    "/compare?a=1&b=2",
    "/plan",
)
PLAN = "/plan?gpu=h100&model=llama-3.1-8b&gpu_count=1&objective=capacity&set=max_num_seqs%3D64"


def _drawn(page: Page) -> None:
    """Every picture of the page has something on it."""
    places = page.locator(".chart")
    for index in range(places.count()):
        expect(places.nth(index).locator("canvas").first).to_be_attached()
    blank = page.evaluate(
        """() => [...document.querySelectorAll(".chart")].filter((one) => {
             const canvas = one.querySelector("canvas");
             const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
             return !data.some((value) => value !== 0);
           }).map((one) => one.dataset.picture)"""
    )
    assert blank == []


def test_from_the_list_to_a_study_to_a_trial(reading: Dashboard, opened: Opened) -> None:
    with opened() as page:
        page.goto(reading.url)
        names = page.locator("tbody th a")
        expect(names).to_have_count(2)
        page.get_by_role("link", name="Study").first.click()
        expect(page.locator("tbody th a").first).to_have_text("day")
        page.get_by_role("link", name="Study").first.click()
        expect(page.locator("tbody th a").first).to_have_text("night")
        page.get_by_label("Search").fill("nigh")
        expect(page.locator("tbody th a")).to_have_count(1)
        assert "q=nigh" in page.url
        page.get_by_label("Search").fill("")
        page.get_by_label("State").select_option("finished")
        expect(page.locator("tbody th a")).to_have_count(2)
        page.get_by_role("link", name="night").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("night")
        page.locator("table.trials tbody th a").nth(1).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Trial")
        _drawn(page)


def test_a_study_shows_all_its_pictures(reading: Dashboard, opened: Opened) -> None:
    with opened() as page:
        page.goto(f"{reading.url}/studies/1")
        _drawn(page)
        # What random search would have found comes a little later.
        page.wait_for_function(
            """() => JSON.parse(
                 document.querySelector('script[data-option="progress"]').textContent).series.length > 1""",
            timeout=60_000,
        )
        _drawn(page)
        page.locator("[data-theme-switch]").click()
        _drawn(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [*PAGES, PLAN])
def test_nothing_keeps_people_with_other_means_out(reading: Dashboard, opened: Opened, path: str, scheme: str) -> None:
    with opened(color_scheme=scheme) as page:
        page.goto(reading.url + path)
        found = Axe().run(page)
        serious = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
        assert serious == [], [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious]


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("path", [*PAGES, PLAN])
def test_a_page_is_as_wide_as_the_screen(reading: Dashboard, opened: Opened, path: str, width: int) -> None:
    with opened(width) as page:
        page.goto(reading.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_weighs_less_than_half_a_megabyte(reading: Dashboard, opened: Opened) -> None:
    with opened() as page:
        sizes: dict[str, int] = {}
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on(
            "Network.loadingFinished", lambda one: sizes.update({one["requestId"]: int(one["encodedDataLength"])})
        )
        page.goto(f"{reading.url}/studies/1", wait_until="networkidle")
        assert 20_000 < sum(sizes.values()) < 500_000


def test_the_keyboard_gets_everywhere(reading: Dashboard, opened: Opened) -> None:
    with opened() as page:
        page.goto(reading.url)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        page.get_by_role("link", name="night").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("night")


def _late(route: Route) -> None:
    time.sleep(0.3)
    route.continue_()


def test_a_study_is_followed_while_it_runs(opened: Opened, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/live.db"
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: live\ntarget: {simulated: {gpu: h100, model: llama-3.1-8b, baseline: {max_num_seqs: 8}}}\n"
        "workload: {prompt: 512, output: 128}\nslos: [ttft p95 <= 2s, itl p95 <= 100ms]\n"
        "budget: {starts: 9, pairs: 2}\n"
    )
    said = tmp_path / "said"
    with said.open("w") as out:  # a pipe that nobody reads would stop it
        arguments = command("start", "-f", str(file), "--yes", "--storage", storage)
        running = subprocess.Popen(arguments, env=environment(tmp_path), cwd=tmp_path, stdout=out, stderr=out)
    try:
        while "trial   0" not in said.read_text():
            assert running.poll() is None, said.read_text()
            time.sleep(0.1)
        with serving("--storage", storage, variables=environment(tmp_path)) as served, opened() as page:
            page.route("**/hx-sse*", _late)  # scripts come when they come
            page.goto(f"{served.url}/studies/1")
            page.evaluate("window.same = true")
            rows = page.locator("table.trials tbody tr")
            seen = rows.count()
            expect(rows).not_to_have_count(seen, timeout=60_000)
            assert page.evaluate("window.same")  # without loading the page again
            # When it has ended, the page says what came of it.
            expect(page.locator(".state").first).to_have_text("finished", timeout=120_000)
            expect(page.get_by_role("heading", name="Review and take along")).to_be_visible()
    except AssertionError as error:
        error.add_note(said.read_text()[-2000:])
        raise
    finally:
        running.wait(timeout=120)


@pytest.fixture
def reviewing(storage: str, tmp_path: Path) -> Iterator[Dashboard]:
    """One in which decisions are made by whoever knows the token."""
    variables = {**environment(tmp_path), "TUNER_DASHBOARD_TOKEN": TOKEN}
    with serving("--storage", storage, "--allow", "review", variables=variables) as served:
        yield served


def _sign_in(page: Page, token: str) -> None:
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_a_wrong_token_opens_nothing(reviewing: Dashboard, opened: Opened) -> None:
    with opened(expected=("403",)) as page:
        page.goto(f"{reviewing.url}/studies/1")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        _sign_in(page, "not-the-right-token")
        expect(page.get_by_role("alert")).to_have_text("this is not the token")
        page.goto(f"{reviewing.url}/studies/1")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_winner_is_taken_along_and_approved(reviewing: Dashboard, opened: Opened, storage: str) -> None:
    with opened() as page:
        page.goto(f"{reviewing.url}/studies/1")
        _sign_in(page, TOKEN)
        expect(page.get_by_role("heading", level=1)).to_contain_text("night")
        page.locator("summary", has_text="flags alone").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download night-flags.txt").click()
        exported = subprocess.check_output(command("export", "night", "--storage", storage, "-o", "flags"), text=True)
        assert Path(download.value.path()).read_text() == exported
        page.get_by_label("Comment").fill("looks <b>good</b>")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".reviews li")).to_contain_text("by Ada Lovelace")
        expect(page.locator(".reviews .decision")).to_have_text("approved")
        expect(page.locator(".reviews blockquote")).to_have_text("looks <b>good</b>")


def test_two_studies_are_compared_from_a_form(reading: Dashboard, opened: Opened) -> None:
    with opened() as page:
        page.goto(f"{reading.url}/compare")
        page.get_by_label("First").select_option("night")
        page.get_by_label("Second").select_option("day")
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", name="What came of them")).to_be_visible()


def test_a_report_opens_from_a_mail(opened: Opened, recorded: str, tmp_path: Path) -> None:
    path = tmp_path / "night.html"
    subprocess.check_call(command("report", "night", "--storage", recorded, "-o", str(path)))
    with opened() as page:
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.goto(path.as_uri())
        _drawn(page)
        assert asked == [path.as_uri()]
