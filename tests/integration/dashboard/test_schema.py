"""The API does what its own description says, whatever it is asked: schemathesis makes the requests up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.dashboard.conftest import TOKEN
from tuner.dashboard.app import create_app
from tuner.dashboard.config import Config, Right, SignIn
from tuner.store import Store

OPERATIONS = 5


@pytest.fixture
def operations(database: str) -> Iterator[list[Any]]:
    """What the API of a dashboard in which decisions are made can be asked."""
    config = Config(Right.REVIEW, SignIn(TOKEN), hosts=None)
    with Store.open(database) as store:
        schema = schemathesis.openapi.from_asgi("/api/openapi.json", create_app(config, store))
        found = [one.ok() for one in schema.get_all_operations()]
        assert len(found) == OPERATIONS
        yield found


def _many(examples: int) -> Any:
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.parametrize("number", range(OPERATIONS))
def test_no_request_breaks_it_or_its_promises(operations: list[Any], number: int) -> None:
    @_many(60)
    @given(case=operations[number].as_strategy())
    def ask(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})

    ask()


@pytest.mark.parametrize("number", range(OPERATIONS))
def test_without_the_token_nothing_is_told(operations: list[Any], number: int) -> None:
    @_many(15)
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        answer = data.draw(operations[number].as_strategy()).call(headers={"Authorization": "Bearer nobody"})
        assert answer.status_code in (401, 422), answer.text

    ask()
