"""The in-process half of the contract, in every run of the tests; tests/e2e asks a real server the same."""

import pytest

from tests.e2e import test_contract as contract
from tests.e2e.test_contract import *  # noqa: F403

# Field ownership is computed by real servers only.
for name in [name for name, test in vars(contract).items() if "real" in getattr(test, "__annotations__", {})]:
    del globals()[name]


@pytest.fixture
def place(in_process: contract.Place) -> contract.Place:
    return in_process
