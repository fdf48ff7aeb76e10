"""One small study to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Said
from tests.support.studies import small_study


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Said]:
    """See `small_study`; made once, and not to be changed."""
    return small_study(tmp_path_factory.mktemp("data"))


@pytest.fixture
def studied(small: tuple[str, Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder from which commands find that database."""
    monkeypatch.setenv("TUNER_STORAGE", small[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path
