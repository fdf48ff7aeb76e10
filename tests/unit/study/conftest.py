"""A place for studies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.study.studies import Studies


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[Studies]:
    """An empty database."""
    made = Studies(tmp_path)
    with made.store:
        yield made
