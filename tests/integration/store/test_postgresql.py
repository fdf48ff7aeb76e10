"""The whole of the store's promises, kept on PostgreSQL too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.store import test_store as promises
from tests.unit.store.test_database import differences
from tuner.core.errors import TunerError
from tuner.store import Store, StoreError

_TESTS = [name for name in dir(promises) if name.startswith("test_") and "unfinished" not in name]


@pytest.fixture
def store(postgresql: str) -> Iterator[Store]:
    with Store.open(postgresql) as store:
        yield store


@pytest.mark.parametrize("promise", _TESTS)
def test_every_promise_holds(store: Store, promise: str) -> None:
    getattr(promises, promise)(store)


def test_migrating_makes_the_tables_that_the_code_speaks_of(store: Store) -> None:
    assert differences(store.url) == []


def test_nothing_is_written_by_one_who_reads(store: Store) -> None:
    study = promises.make_study(store)
    with Store.open(store.url, read_only=True) as reader:
        for _ in range(2):  # on a fresh connection, and on one that was given back
            assert reader.studies() == [study]
            with pytest.raises(StoreError, match="read-only transaction"), reader._database.reading() as connection:
                connection.exec_driver_sql("DELETE FROM tuner_studies")
        with pytest.raises(StoreError, match="opened to be read"):
            promises.make_trial(reader, study)
        with pytest.raises(StoreError, match="opened to be read"), reader.setup_lock():
            pass
        other = promises.make_study(store, "b")
        assert reader.studies() == [study, other]


def test_what_is_read_together_is_of_one_moment(store: Store) -> None:
    study = promises.make_study(store)
    with Store.open(store.url, read_only=True) as reader, reader._database.reading() as connection:
        count = "SELECT count(*) FROM tuner_studies"
        assert connection.exec_driver_sql(count).scalar() == 1
        promises.make_study(store, "b")
        assert connection.exec_driver_sql(count).scalar() == 1
    assert [one.name for one in store.studies()] == [study.name, "b"]


def test_a_database_without_tables_is_left_without(postgresql: str) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match="has no studies; `tuner studies`"):
            Store.open(postgresql, read_only=True)


def test_a_server_that_is_not_there_is_said_without_the_password() -> None:
    with pytest.raises(StoreError) as refusal:
        Store.open("postgresql://me:s3cret@127.0.0.1:1/d?connect_timeout=2")
    assert isinstance(refusal.value, TunerError)
    assert "s3cret" not in str(refusal.value)
    assert "127.0.0.1" in str(refusal.value)
