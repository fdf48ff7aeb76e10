"""Random search's line: worked out aside, once, and nobody waits for it whose dashboard ends."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from tuner.dashboard import rivals
from tuner.dashboard.rivals import Rivals
from tuner.dashboard.views.study import StudyView


async def test_what_it_found_is_worked_out_once(view: StudyView, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[StudyView] = []
    monkeypatch.setattr(rivals, "_found", lambda view: asked.append(view) or [(1.0, 2.0)])
    known = Rivals()
    assert [await known.of(view) for _ in range(3)] == [[(1.0, 2.0)]] * 3
    assert len(asked) == 1


async def test_a_mistake_is_said_and_is_no_finding(
    view: StudyView, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: StudyView) -> None:
        raise ValueError("no such thing")

    known = Rivals()
    monkeypatch.setattr(rivals, "_found", broken)
    with caplog.at_level(logging.ERROR):
        assert await known.of(view) == ()
    assert "no such thing" in caplog.text
    monkeypatch.setattr(rivals, "_found", lambda _: [(1.0, 2.0)])
    assert await known.of(view) == [(1.0, 2.0)]


async def test_a_dashboard_that_ends_waits_for_none(view: StudyView, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: StudyView) -> list[tuple[float, float]]:
        begun.set()
        go_on.wait(10)
        return [(1.0, 2.0)]

    monkeypatch.setattr(rivals, "_found", slow)
    known = Rivals()
    waiting = asyncio.create_task(known.of(view))
    await asyncio.to_thread(begun.wait, 10)
    known.close()
    assert await asyncio.wait_for(waiting, 5) == ()
    assert await known.of(view) == ()
    go_on.set()
