"""What a test needs from the machine. By default its absence skips the test; where it must be there, it fails it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """End the test: skipped with the reason, or failed where TUNER_E2E_REQUIRED is set (CI), so that nothing hides."""
    if os.environ.get("TUNER_E2E_REQUIRED"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
