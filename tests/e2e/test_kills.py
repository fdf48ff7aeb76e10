"""kill -9 before and after every kind of call and commit: nothing stays changed, no trial is lost, none runs twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.support.cluster import Cluster
from tests.e2e.support.command import Point, Tuner
from tests.e2e.support.standin import BASELINE_ALONE, WITH_WINNER, WITHOUT_WINNER, Bench, bench, trials
from tuner.store import Phase, TrialKind, TrialRecord

pytestmark = pytest.mark.cluster

ORIGINAL = "tuner.dev/original"
# Each is followed by `tuner restore`, from another folder: without the study's database.
RESTORED = (
    ("after POST leases 1", BASELINE_ALONE),
    ("after PATCH deployments dry-run 1", BASELINE_ALONE),
    ("after PATCH deployments start 1", BASELINE_ALONE),
    ("after commit add_level 1", BASELINE_ALONE),
    ("after PATCH deployments start 2", WITHOUT_WINNER),
    ("before PATCH deployments template 1", BASELINE_ALONE),
    ("after PATCH deployments template 1", BASELINE_ALONE),
    ("after PATCH deployments strategy 1", BASELINE_ALONE),
    ("after PATCH deployments ownership 1", BASELINE_ALONE),
    ("before PATCH replicasets 1", BASELINE_ALONE),
    ("before DELETE leases 1", BASELINE_ALONE),
)
# Each is followed by the same `tuner start`, which goes on with the study.
RESUMED = (
    ("before commit create_study 1", BASELINE_ALONE),
    ("before commit add_trial 1", BASELINE_ALONE),
    ("after commit enter_phase starting 1", BASELINE_ALONE),
    ("before PATCH deployments start 1", BASELINE_ALONE),
    ("before commit record 1", BASELINE_ALONE),
    ("before commit mark_told 1", BASELINE_ALONE),
    ("before commit add_trial 2", WITHOUT_WINNER),
    ("after PATCH deployments start 2", WITHOUT_WINNER),
    ("after commit record 2", WITHOUT_WINNER),
    ("before PATCH deployments ownership 1", BASELINE_ALONE),
)


@pytest.fixture(scope="module")
def shared(cluster: Cluster, engine_sim_image: str) -> Iterator[Bench]:
    """One engine for the whole module."""
    with bench(cluster, engine_sim_image) as made:
        yield made
        made.engine.wait_until_ready(60)


@pytest.fixture
def engine(shared: Bench) -> Bench:
    """It, as it must be before a test."""
    shared.renew()
    return shared


@pytest.mark.parametrize(("point", "study"), RESTORED, ids=[point for point, _ in RESTORED])
def test_restore_puts_everything_back(
    engine: Bench, tuner: Tuner, tmp_path_factory: pytest.TempPathFactory, point: str, study: tuple[str, ...]
) -> None:
    kill = Point.parse(point)
    killed = engine.start(tuner, *study, kill=kill)
    assert killed.killed, f"{point} was not passed: {killed.err}\n{killed.out}"
    assert killed.points[-1] == kill
    elsewhere = Tuner(tuner.kubeconfig, tmp_path_factory.mktemp("elsewhere"))
    carried = ORIGINAL in engine.engine.get()["metadata"].get("annotations", {})
    said = engine.restore(elsewhere).succeeded()
    engine.assert_as_it_was()
    assert said.out.startswith("restored what the study" if carried else "nothing to restore")
    assert engine.restore(elsewhere).succeeded().out.startswith("nothing to restore")
    assert_nothing_runs_on(tuner)


@pytest.mark.parametrize(("point", "study"), RESUMED, ids=[point for point, _ in RESUMED])
def test_a_resumed_study_goes_on_where_it_was(engine: Bench, tuner: Tuner, point: str, study: tuple[str, ...]) -> None:
    killed = engine.start(tuner, *study, kill=Point.parse(point))
    assert killed.killed, f"{point} was not passed: {killed.err}\n{killed.out}"
    before = trials(tuner)
    engine.start(tuner, *study).succeeded()
    engine.assert_as_it_was()
    assert engine.leases() == []
    assert_none_lost_or_repeated(before, trials(tuner))
    searched = 0 if study == BASELINE_ALONE else 1
    assert [trial.kind for trial in trials(tuner)] == [TrialKind.BASELINE, *[TrialKind.SEARCH] * searched]


def test_a_restored_deployment_can_still_be_gone_on_with(engine: Bench, tuner: Tuner) -> None:
    point = Point("after", "PATCH deployments start", 2)
    assert engine.start(tuner, *WITHOUT_WINNER, kill=point).killed
    before = trials(tuner)
    engine.restore(tuner).succeeded()
    engine.start(tuner, *WITHOUT_WINNER).succeeded()
    engine.assert_as_it_was()
    assert_none_lost_or_repeated(before, trials(tuner))


@pytest.mark.parametrize("point", ["after PATCH deployments template 1", "before PATCH deployments ownership 1"])
def test_a_restore_that_is_killed_is_repeated(engine: Bench, tuner: Tuner, point: str) -> None:
    assert engine.start(tuner, *BASELINE_ALONE, kill=Point("after", "PATCH deployments start")).killed
    assert tuner.run("restore", engine.engine.name, "-n", engine.namespace, kill=Point.parse(point)).killed
    engine.restore(tuner).succeeded()
    engine.assert_as_it_was()
    assert engine.leases() == []


def test_a_confirmation_that_is_killed_twice_gives_its_answer(engine: Bench, tuner: Tuner) -> None:
    assert engine.start(tuner, *WITH_WINNER, kill=Point("before", "commit record", 4)).killed
    first = trials(tuner)
    assert [trial.kind for trial in first].count(TrialKind.CONFIRM) == 2
    # The second start of the confirmation is begun again, and the third goes on record before the next kill.
    assert engine.start(tuner, *WITH_WINNER, kill=Point("after", "commit record", 2)).killed
    second = trials(tuner)
    assert_none_lost_or_repeated(first, second, finished=False)
    done = engine.start(tuner, *WITH_WINNER).succeeded()
    assert "better by" in done.out
    assert_none_lost_or_repeated(second, trials(tuner))
    assert len(trials(tuner)) == 6
    engine.assert_as_it_was()
    assert engine.leases() == []


def assert_none_lost_or_repeated(before: list[TrialRecord], after: list[TrialRecord], *, finished: bool = True) -> None:
    """Every trial that was on record stays as it was; every other one was started as often as it had to be."""
    assert [trial.number for trial in after] == list(range(len(after)))
    assert len(after) >= len(before)
    for old, new in zip(before, after, strict=False):
        assert (new.candidate, new.kind, new.ticket) == (old.candidate, old.kind, old.ticket)
        if old.recorded:
            assert (new.recorded, new.verdict, new.measurement) == (old.recorded, old.verdict, old.measurement)
            assert times_in(new, Phase.STARTING) == times_in(old, Phase.STARTING)
    for trial in after[len(before) :] if finished else ():
        assert times_in(trial, Phase.STARTING) == 1
    if finished:
        assert all(trial.phase is Phase.TOLD and times_in(trial, Phase.RECORDED) == 1 for trial in after)
    searched = Counter(trial.candidate for trial in after if trial.kind is not TrialKind.CONFIRM)
    assert max(searched.values()) == 1, searched


def times_in(trial: TrialRecord, phase: Phase) -> int:
    """How often a trial entered a phase."""
    return sum(one.phase is phase for one in trial.phases)


def assert_nothing_runs_on(tuner: Tuner) -> None:
    """Fail where a process of the command that was killed still sends load."""
    end = time.monotonic() + 5
    while left := children(tuner.folder):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def children(folder: Path) -> list[str]:
    """The command lines of Python processes that were started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").resolve() == folder.resolve():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found
