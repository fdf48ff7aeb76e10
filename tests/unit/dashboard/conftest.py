"""A study as pages see it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.study.studies import Studies, Target, failing
from tuner.core.cause import Cause
from tuner.dashboard.reading import Reading
from tuner.dashboard.views.study import StudyView


@pytest.fixture(scope="session")
def view(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    """A finished study of eight starts, the second of which ran out of memory."""
    folder: Path = tmp_path_factory.mktemp("view")
    studies = Studies(folder)
    with studies.store:
        asyncio.run(_run(studies))
        return Reading(studies.store).study(1)


async def _run(studies: Studies) -> None:
    session = studies.session(Target(failing(Cause.GPU_OOM_AT_START, 2)), starts=10)
    preview = await session.look()
    await session._run(preview, studies.events.append)
