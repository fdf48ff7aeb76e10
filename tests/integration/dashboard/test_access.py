"""Who may do what: nobody changes anything by accident, by a guess, or from another site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.dashboard.conftest import BASE, SAME_SITE, TOKEN, Open, by_proxy
from tuner.core.errors import InvalidInput
from tuner.dashboard.config import Config, Right, SignIn
from tuner.dashboard.live import ALIVE
from tuner.dashboard.routes import study

APPROVE = {"decision": "approved", "comment": "ship it"}


async def _csrf(client: httpx.AsyncClient) -> str:
    text = (await client.get("/studies/1")).text
    return text.split('name="csrf" value="')[1].split('"')[0]


async def _decisions(client: httpx.AsyncClient) -> list[str]:
    return [one["decision"] for one in (await client.get("/api/v1/studies/1/reviews")).json()]


async def test_whoever_signed_in_approves_by_the_form_and_stays_on_record(reviewing: httpx.AsyncClient) -> None:
    csrf = await _csrf(reviewing)
    said = await reviewing.post("/studies/1/reviews", data={**APPROVE, "csrf": csrf}, headers=SAME_SITE)
    assert said.status_code == 303
    (review,) = (await reviewing.get("/api/v1/studies/1/reviews")).json()
    assert (review["who"], review["decision"], review["comment"]) == ("Ada", "approved", "ship it")
    assert "ship it" in (await reviewing.get("/studies/1")).text
    assert 'class="decision approved"' in (await reviewing.get("/")).text


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (SAME_SITE, {}),
        (SAME_SITE, {"csrf": "guessed"}),
        ({**SAME_SITE, "origin": "http://evil.example"}, {"csrf": "TRUE"}),
        ({**SAME_SITE, "origin": "null"}, {"csrf": "TRUE"}),
        ({"origin": BASE, "sec-fetch-site": "cross-site"}, {"csrf": "TRUE"}),
    ],
)
async def test_a_form_of_another_site_changes_nothing(
    reviewing: httpx.AsyncClient, headers: dict[str, str], fields: dict[str, str]
) -> None:
    sent = {name: await _csrf(reviewing) if value == "TRUE" else value for name, value in fields.items()}
    said = await reviewing.post("/studies/1/reviews", data={**APPROVE, **sent}, headers=headers)
    assert said.status_code == 403
    assert await _decisions(reviewing) == []


async def test_nobody_changes_anything_without_signing_in(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN, asked=False)) as client:
        assert (await client.get("/studies/1")).status_code == 200
        assert (await client.post("/studies/1/reviews", data=APPROVE)).status_code == 401
        assert (await client.post("/api/v1/studies/1/reviews", json=APPROVE)).status_code == 401
        assert await _decisions(client) == []


async def test_what_was_written_in_a_session_that_has_ended_is_given_back(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN, asked=False)) as client:
        said = await client.post("/studies/1/reviews", data={**APPROVE, "comment": "halves <the> latency"})
        assert said.status_code == 401
        assert "halves &lt;the&gt; latency" in said.text
        assert 'href="/sign-in?next=/studies/1"' in said.text


async def test_who_is_known_need_not_sign_in(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN)) as client:
        await client.post("/sign-in", data={"name": "Ada", "token": TOKEN})
        said = await client.get("/sign-in?next=/studies/1")
        assert (said.status_code, said.headers["location"]) == (303, "/studies/1")


@pytest.mark.parametrize("path", ["/studies/1/reviews", "/studies/1/changes/apply", "/api/v1/studies/1/reviews"])
async def test_who_may_not_is_told_so_before_what_they_sent_is_read(opened: Open, path: str) -> None:
    nonsense: dict[str, dict[str, str]] = {"json": {}} if "api" in path else {"data": {}}
    async with opened(Right.REVIEW, SignIn(TOKEN, asked=False)) as client:
        assert (await client.post(path, **nonsense)).status_code == 401  # type: ignore[arg-type]
    async with opened(Right.READ, SignIn(TOKEN)) as client:
        signed = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.post(path, headers=signed, **nonsense)).status_code == 403  # type: ignore[arg-type]


async def test_a_dashboard_that_reads_takes_no_decision_from_anybody(opened: Open) -> None:
    async with opened(Right.READ, SignIn(TOKEN)) as client:
        program = {"authorization": f"Bearer {TOKEN}"}
        said = await client.post("/api/v1/studies/1/reviews", json=APPROVE, headers=program)
        assert said.status_code == 403
        assert "--allow review" in said.json()["detail"]
        assert (await client.get("/studies/1/changes/apply", headers=program)).status_code == 403


async def test_who_may_review_may_not_apply(reviewing: httpx.AsyncClient) -> None:
    said = await reviewing.get("/studies/1/changes/apply")
    assert said.status_code == 403
    assert "--allow apply" in said.text


async def test_pages_that_need_a_sign_in_lead_to_it_and_back(opened: Open) -> None:
    async with opened(Right.READ, SignIn(TOKEN), hosts=None) as client:
        sent = await client.get("/studies/1?x=1")
        assert sent.status_code == 303
        assert sent.headers["location"] == "/sign-in?next=%2Fstudies%2F1%3Fx%3D1"
        assert (await client.get("/api/v1/studies")).status_code == 401
        wrong = await client.post("/sign-in", data={"name": "Eve", "token": TOKEN[:-1] + "x", "next": "/"})
        assert wrong.status_code == 403
        assert "set-cookie" not in wrong.headers
        right = await client.post("/sign-in", data={"name": "Ada", "token": TOKEN, "next": "/studies/1"})
        assert right.headers["location"] == "/studies/1"
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert (await client.get("/studies/1")).status_code == 200
        csrf = (await client.get("/")).text.split('name="csrf" value="')[1].split('"')[0]
        assert (await client.post("/sign-out", data={"csrf": csrf}, headers=SAME_SITE)).status_code == 303
        assert (await client.get("/studies/1")).status_code == 303


@pytest.mark.parametrize(
    "there", ["https://evil.example/", "//evil.example", "//[", "/\\evil.example", "javascript:alert(1)", "x"]
)
async def test_a_sign_in_leads_to_no_other_site(opened: Open, there: str) -> None:
    async with opened(Right.READ, SignIn(TOKEN)) as client:
        said = await client.post("/sign-in", data={"name": "Ada", "token": TOKEN, "next": there})
        assert said.headers["location"] == "/"


async def test_a_program_sends_the_token_itself(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN)) as client:
        program = {"authorization": f"Bearer {TOKEN}", "x-tuner-user": "pipeline"}
        said = await client.post("/api/v1/studies/1/reviews", json=APPROVE, headers=program)
        assert said.status_code == 201
        assert said.json()["who"] == "pipeline"
        wrong = {**program, "authorization": "Bearer something-else-entirely"}
        assert (await client.get("/api/v1/studies", headers=wrong)).status_code == 401


async def test_a_name_is_believed_from_the_proxy_alone(opened: Open) -> None:
    named = {"X-Forwarded-User": "ada@example.com"}
    async with opened(Right.REVIEW, by_proxy(), peer="10.1.2.3") as client:
        page = await client.get("/studies/1", headers=named)
        assert "ada@example.com" in page.text
        csrf = page.text.split('name="csrf" value="')[1].split('"')[0]
        said = await client.post("/studies/1/reviews", data={**APPROVE, "csrf": csrf}, headers={**SAME_SITE, **named})
        assert said.status_code == 303
        # The cookie of somebody whom the proxy no longer names opens nothing.
        assert (await client.get("/api/v1/studies")).status_code == 401
    async with opened(Right.REVIEW, by_proxy(), peer="192.0.2.1") as client:
        assert (await client.get("/api/v1/studies", headers=named)).status_code == 401


async def test_a_name_that_was_bent_to_this_machine_is_refused(reading: httpx.AsyncClient) -> None:
    assert (await reading.get("/", headers={"host": "evil.example:8421"})).status_code == 421
    for host in ("localhost:8421", "127.0.0.1:8421", "[::1]:8421", "localhost"):
        assert (await reading.get("/", headers={"host": host})).status_code == 200


def test_what_would_be_open_to_others_is_refused_at_the_start() -> None:
    with pytest.raises(InvalidInput, match="--host"):
        Config(hosts=None)
    with pytest.raises(InvalidInput, match="--allow review"):
        Config(Right.REVIEW, hosts=("localhost",))
    with pytest.raises(InvalidInput, match="TUNER_DASHBOARD_TOKEN"):
        Config(sign_in=SignIn("short"))
    with pytest.raises(InvalidInput, match="--proxy"):
        Config(sign_in=SignIn(header="X-User"))


async def test_the_key_of_a_session_hangs_on_the_token(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN)) as client:
        await client.post("/sign-in", data={"name": "Ada", "token": TOKEN})
        ((name, cookie),) = client.cookies.items()
    for token, expected in ((TOKEN, 200), ("another-token-than-that", 303)):
        async with opened(Right.REVIEW, SignIn(token)) as again:  # a restart
            again.cookies[name] = cookie
            assert (await again.get("/")).status_code == expected


async def test_a_session_that_was_signed_out_opens_nothing_by_a_copy_of_its_cookie(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN)) as client:
        await client.post("/sign-in", data={"name": "Ada", "token": TOKEN})
        ((name, cookie),) = client.cookies.items()
        assert (await client.get("/")).status_code == 200
        await client.post("/sign-out", data={"csrf": await _csrf(client)}, headers=SAME_SITE)
        for _ in range(2):
            client.cookies.set(name, cookie)
            assert (await client.get("/")).status_code == 303


async def test_who_follows_a_study_is_asked_again_now_and_then(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as client:
        app = client.app  # type: ignore[attr-defined]

        async def messages(_: int) -> AsyncIterator[bytes]:
            while True:
                yield ALIVE
                await asyncio.sleep(0.01)

        monkeypatch.setattr(app.state.live, "messages", messages)
        monkeypatch.setattr(study, "_ASKED_ANEW_S", 0.1)
        said = await asyncio.wait_for(client.get("/studies/1/live"), 5)
        assert said.text.startswith(ALIVE.decode())


async def test_who_follows_a_study_and_is_signed_out_is_led_to_the_form(opened: Open) -> None:
    async with opened(sign_in=SignIn(TOKEN, asked=True)) as client:
        said = await client.get("/studies/1/live")
        assert (said.status_code, said.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        assert said.text == "event: over\ndata: over\n\n"  # the page loads itself again
        assert (await client.get("/studies/1")).headers["location"].startswith("/sign-in?next=")


async def test_an_origin_that_is_no_address_is_another_site(reviewing: httpx.AsyncClient) -> None:
    said = await reviewing.post("/studies/1/reviews", data={"decision": "approve"}, headers={"origin": "http://[bad"})
    assert said.status_code == 403


async def test_who_has_not_seen_the_last_word_does_not_have_it(reviewing: httpx.AsyncClient) -> None:
    seen = {"csrf": await _csrf(reviewing), "seen": "0"}
    first = {"decision": "rejected", "comment": "OOM in prod", **seen}
    assert (await reviewing.post("/studies/1/reviews", data=first, headers=SAME_SITE)).status_code == 303
    for late in (first, {**APPROVE, **seen}):
        said = await reviewing.post("/studies/1/reviews", data=late, headers=SAME_SITE)
        assert said.status_code == 409
        assert "Ada decided meanwhile: rejected (OOM in prod)" in said.text
    assert await _decisions(reviewing) == ["rejected"]
    again = {**APPROVE, **seen, "seen": "1"}
    assert (await reviewing.post("/studies/1/reviews", data=again, headers=SAME_SITE)).status_code == 303


async def test_a_comment_counts_as_the_page_counts_it(reviewing: httpx.AsyncClient) -> None:
    csrf = await _csrf(reviewing)
    for lines, expected in ((790, 303), (810, 422)):
        sent = {"decision": "approved", "comment": "line\r\n" * lines, "csrf": csrf}
        assert (await reviewing.post("/studies/1/reviews", data=sent, headers=SAME_SITE)).status_code == expected


async def test_of_two_names_in_one_request_neither_is_believed(opened: Open) -> None:
    async with opened(Right.REVIEW, by_proxy(), peer="10.1.2.3") as client:
        twice = [("X-Forwarded-User", "spoofed"), ("X-Forwarded-User", "Ada")]
        assert (await client.get("/api/v1/studies", headers=twice)).status_code == 401


async def test_a_name_that_nobody_sees_is_none(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN)) as client:
        said = await client.post("/sign-in", data={"name": "\u202e\u200b", "token": TOKEN})
        assert said.status_code == 422
        assert "say who you are" in said.text


async def test_the_record_says_whose_word_a_name_is(opened: Open, reviewing: httpx.AsyncClient) -> None:
    await reviewing.post("/studies/1/reviews", data={**APPROVE, "csrf": await _csrf(reviewing)}, headers=SAME_SITE)
    (typed,) = (await reviewing.get("/api/v1/studies/1/reviews")).json()
    assert typed["vouched"] is False
    assert "(by their own word)" in (await reviewing.get("/studies/1")).text
    async with opened(Right.REVIEW, by_proxy(), peer="10.1.2.3") as client:
        client.headers["X-Forwarded-User"] = "Bob"
        await client.post("/studies/1/reviews", data={**APPROVE, "csrf": await _csrf(client)}, headers=SAME_SITE)
        *_, named = (await client.get("/api/v1/studies/1/reviews")).json()
    assert (named["who"], named["vouched"]) == ("Bob", True)


async def test_whoever_may_sign_in_is_told_where(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN, asked=False)) as client:
        text = (await client.get("/studies/1")).text
        assert "Sign in</a> to approve or reject this" in text
        assert "only reads" not in text


async def test_a_proxy_on_the_same_machine_lets_no_other_name_in(opened: Open) -> None:
    async with opened(Right.REVIEW, by_proxy(proxy="127.0.0.1/32")) as client:
        bent = {"host": "evil.example:8421", "X-Forwarded-User": "boss"}
        assert (await client.get("/studies/1", headers=bent)).status_code == 421


async def test_names_are_kept_as_people_write_them_and_a_proxy_may_have_its_own_for_us(opened: Open) -> None:
    hosts = ("tuner.example.com", "127.0.0.1")
    async with opened(Right.REVIEW, by_proxy(), hosts=hosts, peer="10.1.2.3") as client:
        named = {"X-Forwarded-User": "Zoë Łuk".encode()}
        csrf = (await client.get("/studies/1", headers=named)).text.split('name="csrf" value="')[1].split('"')[0]
        outside = {**named, "origin": b"https://tuner.example.com", "sec-fetch-site": b"same-origin"}
        said = await client.post("/studies/1/reviews", data={**APPROVE, "csrf": csrf}, headers=outside)
        assert said.status_code == 303
        (review,) = (await client.get("/api/v1/studies/1/reviews", headers=named)).json()
        assert review["who"] == "Zoë Łuk"


@pytest.mark.parametrize("path", [f"/studies/{10**30}", f"/compare?a={10**30}&b=1", f"/studies/1/trials/{10**24}"])
async def test_numbers_beyond_any_database_are_refused_in_words(opened: Open, path: str) -> None:
    async with opened() as client:
        said = await client.get(path)
        assert said.status_code == 422
        assert "script-src 'self'" in said.headers["content-security-policy"]


async def test_an_answer_that_broke_keeps_to_the_policy_too(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as client:
        app = client.app  # type: ignore[attr-defined]
        monkeypatch.setattr(app.state.reading, "overviews", lambda: 1 / 0)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as other:
            said = await other.get("/")
    assert said.status_code == 500
    assert "ZeroDivision" not in said.text
    assert said.headers["cache-control"] == "no-store"
    assert "script-src 'self'" in said.headers["content-security-policy"]


async def test_a_name_can_not_turn_the_record_around(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN)) as client:
        program = {"authorization": f"Bearer {TOKEN}", "x-tuner-user": "\u202eeve\x7f".encode()}
        said = await client.post(
            "/api/v1/studies/1/reviews", json={**APPROVE, "comment": "a\u202eb\nc\x00"}, headers=program
        )
        assert (said.json()["who"], said.json()["comment"]) == ("eve", "ab\nc")


async def test_a_body_that_no_form_has_is_refused(opened: Open) -> None:
    async with opened(Right.REVIEW, SignIn(TOKEN, asked=False)) as client:
        said = await client.post(
            "/api/v1/studies/1/reviews", content=b"0" * 10**6, headers={"content-type": "application/json"}
        )
        assert said.status_code == 413
