"""Changes of a live Deployment from a page: one at a time, as shown, told as they ended, and on record."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.apiserver import ApiServer, until
from tests.support.bench import Bench, deployed, look_often
from tests.support.winners import WINNER
from tuner.core.errors import NotRestored, Refused, TunerError
from tuner.core.knob import Candidate
from tuner.dashboard import changes as module
from tuner.dashboard.access import Visitor
from tuner.dashboard.changes import Change, Changes, Kind, mark
from tuner.dashboard.config import Right
from tuner.store import Decision, Store
from tuner.study.adoption import Adoption
from tuner.study.cluster import Cluster
from tuner.study.winner import Winner
from tuner.targets.kubernetes.deployment import KubernetesTarget

FATAL = replace(WINNER, candidate=Candidate.of(max_num_seqs=128, max_num_batched_tokens=2003))
BEFORE, AFTER = "--max-num-seqs=64", "--max-num-seqs=128"
ADA, BOB = Visitor("Ada", Right.APPLY, vouched=True), Visitor("Bob", Right.APPLY)
#: Two studies of one Deployment.
STUDY, OTHER = 1, 2


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that start in a tenth of a second are looked at ten times as often."""
    look_often(monkeypatch)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(tmp_path) as running:
        yield running


@pytest.fixture
async def bench(server: ApiServer) -> Bench:
    return await deployed(server)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/t.db") as store:
        for name in ("night", "day"):
            store.create_study(name=name, spec={}, target="ns/llm", info={}, now=datetime.now(UTC))
        yield store


@pytest.fixture
async def changes(store: Store, server: ApiServer) -> AsyncIterator[Changes]:
    changes = Changes(store, Cluster(server.kubeconfig))
    yield changes
    await changes.close()


async def begun(changes: Changes, winner: Winner = WINNER, kind: Kind = Kind.APPLY, who: Visitor = ADA) -> Change:
    """A change begun as on a page: looked at, and that one asked for."""
    diff, _caution = await changes.preview(winner, kind)
    assert diff is not None
    return changes.begin(STUDY, winner, kind, mark(diff), who)


async def ended(change: Change) -> Change:
    await until(lambda: change.over)
    return change


def on_record(store: Store) -> list[tuple[Decision, str, str]]:
    return [(one.decision, one.who, one.comment) for one in store.reviews.of(STUDY)]


async def test_a_winner_is_applied_and_taken_back_and_both_are_on_record(
    bench: Bench, changes: Changes, store: Store
) -> None:
    change = await ended(await begun(changes))
    assert (change.made, change.error, bench.args[0]) == (True, "", AFTER)
    assert changes.of(STUDY) is change
    assert change.done == "llm runs the winner of study night"
    assert (await ended(await begun(changes, kind=Kind.UNDO, who=BOB))).error == ""
    assert bench.args[0] == BEFORE
    assert [one[:2] for one in on_record(store)] == [(Decision.APPLIED, "Ada"), (Decision.UNDONE, "Bob")]
    assert [one.vouched for one in store.reviews.of(STUDY)] == [True, False]


async def test_one_change_of_a_deployment_at_a_time_whatever_study_it_is_for(bench: Bench, changes: Changes) -> None:
    first = await begun(changes)
    for study_id in (STUDY, OTHER):
        with pytest.raises(Refused, match="Ada is changing this Deployment already; one change of ns/llm at a time"):
            changes.begin(study_id, WINNER, Kind.APPLY, "", BOB)
    elsewhere = changes.begin(OTHER, replace(WINNER, deployment="none"), Kind.APPLY, "", BOB)
    assert "none" in (await ended(elsewhere)).error
    assert (await ended(first)).error == ""
    assert (await ended(await begun(changes, kind=Kind.UNDO))).error == ""
    assert bench.args[0] == BEFORE


async def test_another_difference_than_was_shown_is_not_made(bench: Bench, changes: Changes, store: Store) -> None:
    before = bench.picture()
    change = await ended(changes.begin(STUDY, WINNER, Kind.APPLY, mark("another"), ADA))
    assert "has changed since the difference was shown" in change.error
    assert bench.picture() == before
    assert on_record(store) == [(Decision.FAILED, "Ada", f"apply: {change.error}")]


async def test_a_rollout_that_fails_is_undone_and_on_record(bench: Bench, changes: Changes, store: Store) -> None:
    before = bench.picture()
    change = await ended(await begun(changes, FATAL))
    assert not change.made
    assert "CUDA out of memory" in change.error
    assert "the change was undone" in change.error
    assert bench.picture() == before
    assert on_record(store) == [(Decision.FAILED, "Ada", f"apply: {change.error}")]


@pytest.mark.parametrize(
    ("winner", "told"),
    [
        (WINNER, r"^it was made, but it is not on record: .*no such table"),
        (FATAL, r"(?s)undone.*\nit is not on record"),
    ],
)
async def test_a_database_that_is_lost_changes_nothing_of_what_was_done(
    bench: Bench, changes: Changes, tmp_path: Path, winner: Winner, told: str
) -> None:
    change = await begun(changes, winner)
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute("DROP TABLE tuner_reviews")
    assert re.search(told, (await ended(change)).error)
    assert change.made is (winner is WINNER)
    assert bench.args[0] == (AFTER if winner is WINNER else BEFORE)


async def test_a_change_that_is_under_way_is_undone_when_the_dashboard_stops(
    bench: Bench, changes: Changes, store: Store
) -> None:
    before = bench.picture()
    change = await begun(changes)
    await until(lambda: bench.args[0] == AFTER)
    await changes.close()
    assert change.over
    assert change.error == "the dashboard was stopped; the change was undone: ns/llm runs what it ran before"
    assert bench.picture() == before
    assert not bench.server.all("leases")
    assert on_record(store) == [(Decision.FAILED, "Ada", f"apply: {change.error}")]


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_change_that_has_not_begun_is_not_told_as_undone(bench: Bench, changes: Changes, steps: int) -> None:
    before = bench.picture()
    change = await begun(changes)
    for _ in range(steps):
        await asyncio.sleep(0)
    await changes.close()
    await ended(change)
    assert change.error == "the dashboard was stopped before anything was changed"
    assert bench.picture() == before


async def test_a_change_that_was_made_stays_and_is_put_on_record_while_the_dashboard_stops(
    bench: Bench, changes: Changes, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, writing, go_on = store.reviews.add, threading.Event(), threading.Event()

    def slow(*arguments: Any, **more: Any) -> Any:
        writing.set()
        go_on.wait(10)
        return add(*arguments, **more)

    monkeypatch.setattr(store.reviews, "add", slow)
    change = await begun(changes)
    await until(writing.is_set)
    stopping = asyncio.create_task(changes.close())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    go_on.set()
    await stopping
    await ended(change)
    assert (change.made, change.error, bench.args[0]) == (True, "", AFTER)
    assert [one[0] for one in on_record(store)] == [Decision.APPLIED]


async def test_trouble_after_a_change_was_made_is_told_as_that(
    bench: Bench, changes: Changes, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = KubernetesTarget.release

    async def lost(target: KubernetesTarget) -> None:
        await release(target)
        if bench.args[0] == AFTER:
            raise TunerError("the API server does not answer")

    monkeypatch.setattr(KubernetesTarget, "release", lost)
    change = await ended(await begun(changes))
    assert change.error == "it was made, but then: the API server does not answer"
    assert [one[0] for one in on_record(store)] == [Decision.APPLIED]


@pytest.mark.usefixtures("bench")
async def test_a_change_that_could_not_be_undone_is_told_so_though_the_dashboard_stops(
    changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, closing_down = KubernetesTarget.release, asyncio.Event()

    async def half(_adoption: Adoption, _deadline_s: float, say: Callable[[str], None]) -> float:
        say("changing the Deployment")
        raise NotRestored("it could not be undone")

    async def slow(target: KubernetesTarget) -> None:
        await release(target)
        closing_down.set()
        await asyncio.sleep(10)

    change = await begun(changes)
    monkeypatch.setattr(Adoption, "apply", half)
    monkeypatch.setattr(KubernetesTarget, "release", slow)
    await closing_down.wait()
    await changes.close()
    await ended(change)
    assert change.error == "it could not be undone"


async def test_a_mistake_is_logged_and_told_without_secrets(
    bench: Bench, changes: Changes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_adoption: Adoption) -> str:
        raise RuntimeError("broken: --api-key sk-secret")

    change = await begun(changes)
    monkeypatch.setattr(Adoption, "preview", broken)
    with caplog.at_level(logging.ERROR):
        await ended(change)
    assert change.error == "RuntimeError: broken: --api-key <redacted>"
    assert any(record.exc_info for record in caplog.records)
    assert bench.args[0] == BEFORE


async def test_changes_that_have_ended_do_not_pile_up(
    changes: Changes, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    for name in "cdef":
        study = store.create_study(name=name, spec={}, target="ns/none", info={}, now=datetime.now(UTC))
        last = await ended(changes.begin(study.id, replace(WINNER, deployment="none"), Kind.APPLY, "", ADA))
    assert list(changes._newest) == [last.study_id - 1, last.study_id]
    assert changes.of(last.study_id) is last
    assert changes.of(last.study_id - 2) is None
    assert not changes._under_way
    assert not changes._tasks


async def test_where_nothing_was_changed_there_is_no_page_of_a_change(reading: httpx.AsyncClient) -> None:
    said = await reading.get("/studies/1/change")
    assert said.status_code == 404
    assert "nothing was changed since the dashboard was started" in said.text
