"""The in-process half of the contract, in every run of the tests; tests/e2e asks a real server the same."""

from tests.e2e.test_contract import *  # noqa: F403
