"""A study that runs is followed: a message when something is entered, the same one for all, and an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import httpx
import pytest

from tests.integration.dashboard.conftest import Open
from tuner.core.knob import Candidate
from tuner.dashboard.live import Live
from tuner.dashboard.reading import Reading
from tuner.dashboard.views.study import StudyView
from tuner.store import Phase, Store, StoreError, StudyState, TrialKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAST_S = 0.02


def _begun(store: Store, like: str) -> int:
    """A study under way, as somebody else's process has it."""
    with Store.open(like) as other:
        spec, info = (getattr(other.studies()[0], name) for name in ("spec", "info"))
    study = store.create_study(name="live", spec=spec, target="t", info=info, now=NOW)
    store.claims.take(study.id, "elsewhere:1:x", datetime.now(UTC), 600)
    store.set_state(study.id, StudyState.SEARCHING, "", NOW, by="elsewhere:1:x")
    return study.id


class _Counting(Reading):
    """Counts how often a page was made."""

    made = 0

    def study(self, study_id: int) -> StudyView:
        self.made += 1
        return super().study(study_id)


class _Failing(Reading):
    """Has a mistake in it: what a view raises, `times` times."""

    def __init__(self, store: Store, error: Exception, times: int = 1_000_000) -> None:
        super().__init__(store)
        self._error, self._times = error, times

    def study(self, study_id: int) -> StudyView:
        self._times -= 1
        if self._times >= 0:
            raise self._error
        return super().study(study_id)


async def _next(messages: AsyncIterator[bytes]) -> str:
    async with asyncio.timeout(5):
        return (await anext(messages)).decode()


async def test_watchers_see_each_phase_and_the_end(study_url: str, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store:
        study_id = _begun(store, study_url)
        reading = _Counting(store)
        live = Live(reading, FAST_S, share=inf)
        first, second = live.messages(study_id), live.messages(study_id)
        assert "data: <h1>live" in await _next(first)
        assert "data: <h1>live" in await _next(second)
        trial = store.add_trial(
            study_id, kind=TrialKind.BASELINE, candidate=Candidate(), reason="found", ticket=None, now=NOW
        )
        while "Trial 0" not in (text := await _next(first)):
            pass
        store.enter_phase(trial.id, Phase.STARTING, NOW)
        while "starting" not in (text := await _next(first)):
            pass
        assert text.endswith("\n\n")
        assert all(line.startswith("data: ") or not line for line in text.splitlines())
        made = reading.made
        await asyncio.sleep(10 * FAST_S)  # nothing happens, so nothing is made
        assert reading.made == made
        await _next(second)  # behind by several messages: the newest is enough
        store.set_state(study_id, StudyState.STOPPED, "enough", NOW, by="elsewhere:1:x")
        seen = [await _next(first), await _next(first)]
        assert "enough" in seen[0]
        assert seen[1].startswith("event: over")
        await first.aclose()
        await second.aclose()
        assert live._feeds == {}


async def test_a_hundred_watchers_cost_no_more_pages_than_one(study_url: str, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store:
        study_id = _begun(store, study_url)
        reading = _Counting(store)
        live = Live(reading, FAST_S, share=inf)
        watchers = [live.messages(study_id) for _ in range(100)]
        await asyncio.gather(*(_next(one) for one in watchers))
        assert reading.made == 1
        await asyncio.gather(*(one.aclose() for one in watchers))
        await live.close()


async def test_a_study_whose_process_was_killed_is_over_once_its_claim_expires(study_url: str, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store:
        study_id = _begun(store, study_url)
        live = Live(Reading(store), FAST_S, share=inf)
        watcher = live.messages(study_id)
        assert "searching" in await _next(watcher)
        store.claims.renew(study_id, "elsewhere:1:x", datetime.now(UTC), 0.1)  # and never again
        assert "interrupted" in await _next(watcher)
        assert (await _next(watcher)).startswith("event: over")
        await watcher.aclose()


async def test_a_claim_that_is_renewed_makes_no_page(study_url: str, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store:
        study_id = _begun(store, study_url)
        reading = _Counting(store)
        live = Live(reading, FAST_S, share=inf)
        watcher = live.messages(study_id)
        await _next(watcher)
        for _ in range(5):
            assert store.claims.renew(study_id, "elsewhere:1:x", datetime.now(UTC), 600)
            await asyncio.sleep(3 * FAST_S)
        assert reading.made == 1
        await watcher.aclose()


@pytest.mark.parametrize("mistake", [RuntimeError("broken"), KeyError("block_size"), IndexError("of a list")])
async def test_a_mistake_is_logged_and_ends_what_can_not_be_followed(
    study_url: str, tmp_path: Path, mistake: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store, caplog.at_level(logging.ERROR):
        study_id = _begun(store, study_url)
        live = Live(_Failing(store, mistake), FAST_S, share=inf)
        watcher = live.messages(study_id)
        assert (await _next(watcher)).startswith("event: over")
        assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [mistake]
        assert live._feeds == {}  # who comes later begins anew, though this watcher is still there
        await watcher.aclose()


async def test_a_study_that_is_discarded_is_over_and_no_mistake(
    study_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store:
        study_id = _begun(store, study_url)
        live = Live(Reading(store), FAST_S, share=inf)
        watcher = live.messages(study_id)
        await _next(watcher)
        store.discard(study_id)
        assert (await _next(watcher)).startswith("event: over")
        assert not caplog.records
        await watcher.aclose()


async def test_a_database_that_is_away_is_looked_at_again(study_url: str, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/live.db") as store:
        study_id = _begun(store, study_url)
        live = Live(_Failing(store, StoreError("busy"), times=3), FAST_S, share=inf)
        watcher = live.messages(study_id)
        assert "data: <h1>live" in await _next(watcher)
        await watcher.aclose()
        await live.close()


async def test_a_mistake_in_a_page_is_told_from_a_page_that_is_not_there(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(_reading: Reading, _study_id: int) -> StudyView:
        raise KeyError("block_size")

    async with opened() as client:
        assert (await client.get("/api/v1/studies/99")).json() == {"detail": "no study has id 99"}
        transport = httpx.ASGITransport(client.app, raise_app_exceptions=False)  # type: ignore[attr-defined]
        monkeypatch.setattr("tuner.dashboard.reading.Reading.study", mistaken)
        async with httpx.AsyncClient(transport=transport, base_url=client.base_url) as other:
            said = await other.get("/studies/1")
        assert said.status_code == 500
        assert "block_size" not in said.text
