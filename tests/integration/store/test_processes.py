"""Two processes on one database, on SQLite and on PostgreSQL: they race, and one of them dies."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.store.race import race, start
from tuner.store import Phase, Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def with_a_study(url: str) -> Store:
    store = Store.open(url)
    store.create_study(name="a", spec={}, target="t", info={}, now=NOW)
    return store


def test_processes_that_create_the_database_at_once_all_succeed(url: str, tmp_path: Path) -> None:
    assert race("create", url, tmp_path, runners=4) == [["0 0"]] * 4


def test_of_processes_that_claim_a_study_at_once_one_gets_it(url: str, tmp_path: Path) -> None:
    with with_a_study(url) as store:
        said = race("claim", url, tmp_path, runners=3)
        assert sorted(line for [line] in said) == ["False", "False", "True"]
        study = store.study_by_id(1)
    assert study is not None
    assert study.holder is not None


def test_trials_added_by_two_processes_get_one_number_each(url: str, tmp_path: Path) -> None:
    with with_a_study(url) as store:
        said = race("add", url, tmp_path)
        trials = store.trials(1)
    assert sorted(int(line) for lines in said for line in lines) == list(range(20))
    assert [trial.number for trial in trials] == list(range(20))


@pytest.mark.parametrize("after", [1, 3, 5])
def test_what_was_committed_before_a_kill_is_there_and_nothing_half(url: str, tmp_path: Path, after: int) -> None:
    with with_a_study(url) as store:
        process = start("work", url, tmp_path / "gun")
        (tmp_path / "gun").touch()
        assert process.stdout is not None
        told = list(itertools.islice(process.stdout, after + 1))[1:]
        time.sleep(0.003 * after)  # somewhere inside the next transactions
        process.kill()
        told += process.communicate()[0].rpartition("\n")[0].splitlines()  # it may have been killed within a line
        trials = store.trials(1)
        number, phase = told[-1].split()
        reached = list(Phase).index(trials[int(number)].phase)
        assert reached >= list(Phase).index(Phase(phase))
        for trial in trials:
            assert trial.phases[-1].phase is trial.phase
            assert (trial.verdict is not None) == (trial.phase in (Phase.RECORDED, Phase.TOLD))
            assert trial.told == (trial.phase is Phase.TOLD)
        assert [trial.number for trial in trials] == list(range(len(trials)))
        # The next process goes on where this one was killed.
        assert store.claims.take(1, "next", NOW, 60)
        if trials[-1].recorded is None:
            store.enter_phase(trials[-1].id, Phase.STARTING, NOW)


def test_one_who_only_reads_sees_what_another_process_has_just_written(url: str, tmp_path: Path) -> None:
    with with_a_study(url), Store.open(url, read_only=True) as reader:
        stamps = [reader.stamp(1)]
        process = start("work", url, tmp_path / "gun")
        (tmp_path / "gun").touch()
        assert process.stdout is not None
        for line in itertools.islice(process.stdout, 1, 31):
            number, phase = line.split()
            assert list(Phase).index(reader.trial(1, int(number)).phase) >= list(Phase).index(Phase(phase))
            stamps.append(reader.stamp(1))
        process.kill()
        process.communicate()
    assert stamps == sorted(stamps, key=lambda stamp: stamp[1])
    assert len(set(stamps)) > 5
