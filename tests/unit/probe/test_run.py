"""Levels that somebody asked for: held as long as asked, watched while they run, kept as far as they got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.unit.probe.queue_driver import QueueDriver
from tuner.core.cause import TrialFailed
from tuner.core.measurement import Answer
from tuner.core.request import UNFINISHED, LevelPlan, LevelRecords, RequestRecord
from tuner.core.slo import parse_slo
from tuner.core.workload import Count, Lengths, Load, Objective, ObjectiveKind, Workload
from tuner.probe import Job
from tuner.probe.run import Began, Extent, Held, ProbeRun
from tuner.probe.session import Session
from tuner.probe.workload.arrivals import Stage, Stages

SLOS = (parse_slo("ttft p95 <= 500ms"), parse_slo("error rate <= 5%"))
JOB = Job(
    Workload(Lengths(64), Lengths(16)), Objective(ObjectiveKind.CAPACITY, Count.REQUESTS), SLOS, seed=1, full=True
)


class Cancelled(QueueDriver):
    """Stops in the middle of its `nth` level, when `after` requests have ended, as Ctrl-C does."""

    nth, after = 3, 40

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        if len(self.plans) + 1 < self.nth:
            return await super().level(plan, stop)

        def cut(records: Sequence[RequestRecord]) -> bool:
            ended = stop(records)
            if len(records) >= self.after:
                raise asyncio.CancelledError
            return ended

        return await super().level(plan, cut)


async def _held(extent: Extent | None, *loads: Load, job: Job = JOB, **engine: object) -> tuple[Held, ...]:
    run = ProbeRun(QueueDriver(**engine), job, loads, extent)  # type: ignore[arg-type]
    await run.go()
    return tuple(run.held)


async def test_so_many_requests_are_sent_as_were_asked_for() -> None:
    for load in (Load(rate=4.0), Load(concurrency=8)):
        (held,) = await _held(Extent(requests=300), load)
        assert held.recorded == 300
        assert 200 < held.level.requests < 300  # less the warm-up
        assert not held.partial


async def test_an_open_loop_sends_for_as_long_as_was_asked_for_and_lets_all_end() -> None:
    driver = QueueDriver()
    run = ProbeRun(driver, JOB, [Load(rate=5.0)], Extent(duration_s=40.0))
    await run.go()
    assert run.held[0].recorded == 200
    assert driver.plans[-1].requests[-1].arrival_s == pytest.approx(40.0)
    assert run.held[0].level.duration_s > 40.0
    assert UNFINISHED not in run.held[0].level.errors


async def test_a_closed_loop_ends_with_the_duration_that_was_asked_for() -> None:
    (held,) = await _held(Extent(duration_s=20.0), Load(concurrency=8))
    assert held.level.duration_s == pytest.approx(20.0, abs=1.0)
    assert held.level.errors.get(UNFINISHED, 0) <= 8
    assert held.level.request_rate == pytest.approx(20.0, rel=0.1)  # 8 servers of 0.4 s


async def test_a_closed_loop_that_ran_out_of_requests_is_told_as_cut_off() -> None:
    class Warming(QueueDriver):
        """Many times as fast as in its warm-up."""

        async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
            self.prefill_s, self.step_s = (0.01, 0.0) if self.plans else (0.1, 0.02)
            return await super().level(plan, stop)

    run = ProbeRun(Warming(), JOB, [Load(concurrency=8)], Extent(duration_s=20.0))
    await run.go()
    assert run.held[0].partial
    assert run.held[0].level.duration_s < 19


async def test_a_level_may_have_a_rate_that_changes() -> None:
    driver = QueueDriver()
    stages = Stages((Stage(20, 2), Stage(20, 2, 10), Stage(20, 10)))
    run = ProbeRun(driver, JOB, [Load(rate=stages.rate)], Extent(stages=stages))
    await run.go()
    due = [request.arrival_s or 0.0 for request in driver.plans[-1].requests]
    by_stage = [sum(20 * number < when <= 20 * (number + 1) for when in due) for number in range(3)]
    assert by_stage == pytest.approx([40, 120, 200], rel=0.25)
    assert run.held[0].recorded == len(due) == 360
    assert due[-1] == pytest.approx(60.0)


async def test_a_level_of_an_extent_does_not_stop_where_its_slo_has_failed() -> None:
    slos = (parse_slo("ttft p95 <= 50ms"),)
    (early,) = await _held(None, Load(rate=5.0), job=replace(JOB, slos=slos))
    (whole,) = await _held(Extent(requests=400), Load(rate=5.0), job=replace(JOB, slos=slos))
    assert early.level.answer is whole.level.answer is Answer.FAIL
    assert early.recorded < 100
    assert whole.recorded == 400


async def test_without_an_slo_a_level_is_held_to_its_planned_end() -> None:
    driver = QueueDriver()
    run = ProbeRun(driver, replace(JOB, slos=()), [Load(rate=5.0), Load(rate=10.0)])
    await run.go()
    assert [held.level.duration_s for held in run.held] == pytest.approx([120, 120], rel=0.05)
    assert run.held[0].level.goodput is None


async def test_a_void_level_of_an_extent_is_marked_and_not_run_again() -> None:
    (held,) = await _held(Extent(requests=100), Load(rate=5.0), foreign=3)
    assert held.level.foreign


async def test_the_capacity_is_measured_where_no_load_is_given() -> None:
    run = ProbeRun(QueueDriver(), JOB)
    await run.go()
    assert run.measurement is not None
    assert run.measurement.value == pytest.approx(20.0, rel=0.15)
    assert tuple(held.level for held in run.held) == run.measurement.levels


async def test_the_observer_is_told_of_levels_and_not_of_the_warm_up() -> None:
    told: list[Began | Held] = []
    run = ProbeRun(QueueDriver(), JOB, [Load(rate=4.0)], Extent(requests=50), observe=told.append)
    await run.go()
    assert told == [Began(Load(rate=4.0), 50), run.held[0]]


async def test_watching_changes_nothing_of_what_is_measured() -> None:
    """A level decides at its own looks only, whoever looks in between."""
    bare = await Session.open(QueueDriver(), JOB)
    level = await bare.level(Load(rate=12.0), SLOS)
    (held,) = await _held(None, Load(rate=12.0))
    assert held.level == level


async def test_what_was_measured_is_kept_where_the_run_is_cut_off() -> None:
    run = ProbeRun(Cancelled(), JOB, [Load(rate=5.0), Load(rate=6.0)], Extent(requests=200))
    with pytest.raises(asyncio.CancelledError):
        await run.go()
    run.cut_off()
    whole, part = run.held
    assert (whole.recorded, whole.partial) == (200, False)
    assert (part.recorded, part.partial) == (40, True)
    assert part.level.load == Load(rate=6.0)
    assert part.level.answer is not Answer.PASS
    assert part.level.statistics["ttft"].count > 0


async def test_nothing_is_kept_of_a_warm_up_that_is_cut_off() -> None:
    driver = Cancelled()
    driver.nth, driver.after = 1, 2
    run = ProbeRun(driver, JOB, [Load(rate=5.0)], Extent(requests=200))
    with pytest.raises(asyncio.CancelledError):
        await run.go()
    run.cut_off()
    assert run.held == []


async def test_an_engine_that_answers_nothing_is_a_failure() -> None:
    with pytest.raises(TrialFailed, match="all warm-up requests failed: http 500"):
        await _held(None, Load(rate=5.0), broken=lambda _: "http 500: no")
