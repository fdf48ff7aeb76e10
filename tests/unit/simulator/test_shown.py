"""What a simulated engine shows of itself while a level runs, as a real one on /metrics."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from tests.unit.simulator.engines import request, scheduler
from tuner.core.request import LevelPlan
from tuner.core.workload import Load
from tuner.simulator.run import LevelRun


def test_counters_are_shown_before_and_after_and_gauges_once_a_second() -> None:
    engine = scheduler()
    load, requests = Load(concurrency=4), tuple(request(i, 100, 200) for i in range(40))
    LevelRun(engine, LevelPlan(load, requests, (), math.inf, math.inf)).run()

    found = LevelRun(engine, LevelPlan(load, requests, (), math.inf, math.inf)).run()

    assert found.server is not None
    assert (found.server.before["requests"], found.server.after["requests"]) == (40, 80)
    assert found.server.after["output_tokens"] - found.server.before["output_tokens"] == 40 * 200
    assert found.server.before["running"] == found.server.after["running"] == 0
    times = [sample.at_s for sample in found.server.during]
    assert len(times) == pytest.approx(found.duration_s, abs=2)
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))
    assert max(sample.values["running"] for sample in found.server.during) == 4


def test_requests_that_a_stop_cancels_are_kept_apart_as_far_as_they_got() -> None:
    requests = tuple(request(i, 100, 50) for i in range(20))
    plan = LevelPlan(Load(concurrency=8), requests, (3,), math.inf, math.inf)

    found = LevelRun(scheduler(), plan, stop=lambda _: True).run()

    assert len(found.records) == 3
    assert len(found.records) + len(found.cancelled) == found.sent
    running = [record for record in found.cancelled if not record.ok]
    assert running
    assert all(record.end_s == found.duration_s and len(record.token_s) < 50 for record in running)
