"""The command line called as a user calls it, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Said, call

Tuner = Callable[..., Said]


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tuner:
    """Runs one command in an empty folder, without a cluster or a database."""
    for name in ("KUBECONFIG", "TUNER_STORAGE", "TUNER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    # Read by the library when it is imported, which may have been in another test.
    monkeypatch.setattr("kubernetes.aio.config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "home" / "config"))
    monkeypatch.chdir(tmp_path)
    return call
