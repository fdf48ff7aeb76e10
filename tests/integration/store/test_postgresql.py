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


def test_a_server_that_is_not_there_is_said_without_the_password() -> None:
    with pytest.raises(StoreError) as refusal:
        Store.open("postgresql://me:s3cret@127.0.0.1:1/d?connect_timeout=2")
    assert isinstance(refusal.value, TunerError)
    assert "s3cret" not in str(refusal.value)
    assert "127.0.0.1" in str(refusal.value)
