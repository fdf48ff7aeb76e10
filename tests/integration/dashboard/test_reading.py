"""What pages are read from: nothing twice, and nobody waits for another study's."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.integration.dashboard.conftest import HOSTS
from tuner.dashboard import reading
from tuner.dashboard.app import create_app
from tuner.dashboard.config import Config
from tuner.dashboard.reading import Reading
from tuner.store import Store, StudyState


@pytest.fixture
def two(database: str) -> str:
    """A database with two studies."""
    with Store.open(database) as store:
        first = store.studies()[0]
        store.create_study(name="other", spec=first.spec, target="t", info=first.info, now=first.created)
    return database


async def test_what_is_in_memory_waits_for_no_other_study(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(two, read_only=True) as store:
        known = Reading(store)
        first = known.study(1)
        begun, go_on = threading.Event(), threading.Event()
        trials = store.trials

        def slow(study_id: int, **more: Any) -> Any:
            begun.set()
            go_on.wait(10)
            return trials(study_id, **more)

        monkeypatch.setattr(store, "trials", slow)
        other = asyncio.create_task(asyncio.to_thread(known.study, 2))
        await asyncio.to_thread(begun.wait, 10)
        assert await asyncio.wait_for(asyncio.to_thread(known.study, 1), 5) is first
        go_on.set()
        assert (await other).study.name == "other"


def test_what_was_looked_at_last_is_kept_longest(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_KEPT", 2)
    with Store.open(two) as store:
        first = store.studies()[0]
        third = store.create_study(name="third", spec=first.spec, target="t", info=first.info, now=first.created)
        known = Reading(store)
        kept = known.study(1)
        for study_id in (2, 1, third.id):
            known.study(study_id)
        assert known.study(1) is kept


def test_of_more_studies_than_are_kept_the_newest_are_there_once_all_were_read(
    two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_KEPT", 1)
    with Store.open(two, read_only=True) as store:
        known = Reading(store)
        for _ in known.each():
            pass
        monkeypatch.setattr(store, "trials", None)  # nothing is read again
        assert known.study(2).study.name == "other"


async def test_a_study_whose_claim_is_renewed_is_not_called_interrupted(two: str) -> None:
    with Store.open(two) as store:
        store.set_state(2, StudyState.SEARCHING, "", datetime.now(UTC))
        assert store.claims.take(2, "elsewhere:1:x", datetime.now(UTC), 0.2)
        transport = httpx.ASGITransport(create_app(Config(hosts=HOSTS), store))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/studies/2/trials/0")).status_code == 404  # kept before anybody asked how it is
            assert store.claims.renew(2, "elsewhere:1:x", datetime.now(UTC), 60)
            await asyncio.sleep(0.3)
            assert (await client.get("/api/v1/studies/2")).json()["state"] == "searching"
            assert "hx-sse:connect" in (await client.get("/studies/2")).text


async def test_names_of_files_that_no_answer_can_have_are_shown_without_them(two: str) -> None:
    half = os.fsdecode(b"caf\xe9.jsonl")
    with Store.open(two) as store:
        first = store.studies()[0]
        spec = {**first.spec, "workload": {**first.spec["workload"], "prompts_file": half}}
        store.create_study(name="half", spec=spec, target="t", info=first.info, now=first.created)
        transport = httpx.ASGITransport(create_app(Config(hosts=HOSTS), store))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in ("/studies/3", "/studies/3/report", "/compare?a=1&b=3"):
                said = await client.get(path)
                assert said.status_code == 200
                assert "caf?.jsonl" in said.text
            assert (await client.get("/api/v1/studies/3")).json()["spec"]["workload"]["prompts_file"] == half


async def test_a_database_that_can_not_be_read_ahead_ends_in_order(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Reading) -> None:
        raise ValueError("no such state")

    monkeypatch.setattr(Reading, "each", broken)
    with Store.open(two, read_only=True) as store:
        app = create_app(Config(hosts=HOSTS), store)
        closed = []

        async def close() -> None:
            closed.append(True)

        monkeypatch.setattr(app.state.changes, "close", close)
        async with app.router.lifespan_context(app):
            pass
    assert closed == [True]
