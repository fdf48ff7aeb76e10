"""Studies from the text of their files and from options, and the problems of those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tuner.core.errors import InvalidInput
from tuner.study.spec import StudySpec, load_spec

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIMULATED = "target: {simulated: h100/llama-3.1-8b}\n"
Load = Callable[..., StudySpec]
Refuse = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a study from the text of its file and options."""

    def load_text(text: str | bytes | None = "", **options: Any) -> StudySpec:
        path = None
        if text is not None:
            path = tmp_path / "study.yaml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_spec(path, {name.replace("_", "-"): value for name, value in options.items()}, now=NOW)

    return load_text


@pytest.fixture
def refuse(load: Load, tmp_path: Path) -> Refuse:
    """The problems of a study that is refused, without the folder of its file."""

    def problems(text: str | bytes | None = "", **options: Any) -> list[str]:
        with pytest.raises(InvalidInput) as refusal:
            load(text, **options)
        return [problem.replace(f"{tmp_path}/", "") for problem in refusal.value.problems]

    return problems
