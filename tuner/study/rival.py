"""What random search would have found on the same simulated target, for the same price: what a search is worth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tuner.core.errors import InvalidInput
from tuner.store import Store, StudyRecord, TrialRecord
from tuner.study.place import find_place
from tuner.study.session import Session
from tuner.study.spec import StudySpec


def random_search(study: StudyRecord) -> Sequence[TrialRecord]:
    """The trials of random search in the same space, with the same screen, budget and hidden truth.

    Takes as long as the study did, some seconds to a minute of processor time. Raises InvalidInput for a study whose
    target was not simulated.
    """
    if not study.info.get("simulated"):
        raise InvalidInput(f"study {study.name}: random search would restart a real engine; only simulations are free")
    spec = StudySpec.from_dict(study.spec)
    spec = spec.model_copy(update={"search": spec.search.model_copy(update={"sampler": "random"}), "until": None})
    with TemporaryDirectory() as folder, Store.open(f"sqlite:///{Path(folder) / 'rival.db'}") as store:
        return asyncio.run(_search(spec, store))


async def _search(spec: StudySpec, store: Store) -> Sequence[TrialRecord]:
    place = await find_place(spec, store, api_key=None, new=True)
    try:
        return await Session(spec, store, place).search_only()
    finally:
        await place.target.release()
