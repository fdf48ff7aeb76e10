from __future__ import annotations

import pytest

from tuner.core.measurement import Answer, Level
from tuner.core.request import UNFINISHED
from tuner.core.workload import Load


@pytest.mark.parametrize(
    ("requests", "errors", "share"),
    [
        (100, {}, 1.0),
        (100, {"timeout": 10}, 0.9),
        (100, {UNFINISHED: 60}, 1.0),  # nobody knows how they would have ended
        (100, {UNFINISHED: 60, "timeout": 10}, 0.75),
        (10, {UNFINISHED: 10}, 1.0),
        (0, {}, 1.0),
    ],
)
def test_the_share_of_work_is_that_of_the_requests_whose_end_was_seen(
    requests: int, errors: dict[str, int], share: float
) -> None:
    level = Level(Load(rate=1.0), Answer.UNCERTAIN, (), 1.0, requests, errors, 0.0, 0.0, 0.0, {})

    assert level.work_share == pytest.approx(share)
