"""The process that makes the load: killed, cancelled, orphaned, held up."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.probe.driving import driving, eventually, kinds, plan
from tests.integration.probe.fake_openai import FakeOpenAI, read_counters
from tuner.core.cause import Cause, TrialFailed
from tuner.core.request import RequestRecord
from tuner.probe import http_driver


async def test_a_killed_load_process_is_a_probe_error_and_the_next_level_gets_a_new_one() -> None:
    async with driving(FakeOpenAI(), "good") as driver:
        level = asyncio.create_task(driver.level(plan(400, rate=50), lambda _: False))
        await eventually(lambda: bool(driver.load_pids))
        await asyncio.sleep(1)
        (pid,) = driver.load_pids
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TrialFailed) as caught:
            await level
        again = await driver.level(plan(5), lambda _: False)

    assert caught.value.failure.cause is Cause.PROBE_ERROR
    assert "signal 9" in caught.value.failure.message
    assert len(again.records) == 5


async def test_cancelling_a_level_leaves_no_load_behind() -> None:
    server = FakeOpenAI()
    async with driving(server, "good") as driver:
        level = asyncio.create_task(driver.level(plan(1000, rate=50), lambda _: False))
        await eventually(lambda: bool(server.bodies))
        level.cancel()
        with pytest.raises(asyncio.CancelledError):
            await level
        await asyncio.sleep(0.3)
        sent = len(server.bodies)
        await asyncio.sleep(0.3)
        assert len(server.bodies) == sent


async def test_the_load_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from tuner.probe.client.load_process import LoadProcess\n"
        "async def main():\n"
        "    process = await LoadProcess.start()\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[4])
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    await asyncio.sleep(1)
    assert not _gone(pid)
    parent.kill()
    await parent.wait()

    await eventually(lambda: _gone(pid))


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # dead; whoever adopted it has not asked yet


async def test_a_probe_that_is_late_says_so() -> None:
    server = FakeOpenAI()
    async with server.serving():
        driver = http_driver(server.url, "good", counters=read_counters)
        try:
            level = asyncio.create_task(driver.level(plan(150, rate=50), lambda _: False))
            await eventually(lambda: bool(server.bodies))
            (pid,) = driver.load_pids
            for _ in range(4):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(0.15)
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.15)
            found = await level
        finally:
            await driver.close()

    assert found.lag_p99_s > 0.05


@pytest.mark.parametrize("rate", [200, None])
async def test_several_processes_make_one_load(rate: float | None) -> None:
    server = FakeOpenAI()
    async with driving(server, "good", processes=3) as driver:
        found = await driver.level(plan(50, rate=rate, concurrency=4), lambda _: False)
        assert len(driver.load_pids) == 3

    assert [record.planned.index for record in found.records] == list(range(50))
    assert all(record.ok for record in found.records)
    assert found.sent == len(server.bodies) == 50
    assert found.foreign == 0
    if rate is None:
        assert max(_running(found.records)) <= 4
    else:
        assert all(record.scheduled_s == record.planned.arrival_s <= record.sent_s for record in found.records)


def _running(records: Sequence[RequestRecord]) -> list[int]:
    """How many ran when each was sent."""
    return [sum(other.sent_s <= record.sent_s < other.end_s for other in records) for record in records]


async def test_more_processes_than_clients_leave_some_idle_and_a_stop_reaches_them_all() -> None:
    async with driving(FakeOpenAI(), "good", processes=3) as driver:
        alone = await driver.level(plan(6, concurrency=2), lambda _: False)
        stopped = await driver.level(plan(400, rate=200, looks=(20,)), lambda _: True)

    assert len(alone.records) == 6
    assert len(stopped.records) == 20
    assert stopped.sent < 400


async def test_one_killed_process_of_several_ends_the_level() -> None:
    async with driving(FakeOpenAI(), "good", processes=2) as driver:
        level = asyncio.create_task(driver.level(plan(400, rate=50), lambda _: False))
        await eventually(lambda: len(driver.load_pids) == 2)
        await asyncio.sleep(1)
        os.kill(driver.load_pids[1], signal.SIGKILL)
        with pytest.raises(TrialFailed, match="signal 9"):
            await level
        assert driver.load_pids == ()


@pytest.mark.parametrize("rate", [50, None])
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_turn_waits_for_the_turn_before_it_and_for_its_reader(rate: float | None, processes: int) -> None:
    turns = replace(
        plan(12, rate=rate, concurrency=4),
        requests=tuple(
            replace(request, after=request.index - 4 if request.index >= 4 else None, think_s=0.1)
            for request in plan(12, rate=rate).requests
        ),
    )
    async with driving(FakeOpenAI(), "good", processes=processes) as driver:
        found = await driver.level(turns, lambda _: False)

    assert len(found.records) == 12
    for record in found.records[4:]:
        before = found.records[record.planned.index - 4]
        assert record.sent_s >= record.scheduled_s >= before.end_s + 0.1 - 1e-9
        assert record.sent_s < before.end_s + 1


@pytest.mark.parametrize("processes", [1, 2])
async def test_every_client_of_a_closed_loop_has_work_to_its_end(processes: int) -> None:
    asked = plan(90, tokens=2, concurrency=3)
    async with driving(FakeOpenAI(first_s=0.05), "good", processes=processes) as driver:
        found = await driver.level(asked, lambda _: False)

    busy = sum(record.e2e_s for record in found.records)
    assert busy / found.duration_s > 2.5  # of 3; where one process ran out early it was 2
    assert len(found.records) == 90


async def test_a_client_goes_on_with_another_conversation_while_others_answer_slowly() -> None:
    class Uneven(FakeOpenAI):
        asked = 0

        async def complete(self, request: web.Request) -> web.StreamResponse:
            self.asked += 1
            await asyncio.sleep(0.0 if self.asked % 6 else 0.2)
            return await super().complete(request)

    turns = plan(128, tokens=2, concurrency=4)
    requests = tuple(replace(one, after=one.index - 4 if one.index // 4 % 4 else None) for one in turns.requests)
    async with driving(Uneven(first_s=0.005), "good") as driver:
        found = await driver.level(replace(turns, requests=requests), lambda _: False)

    busy = sum(record.end_s - record.sent_s for record in found.records)
    assert busy / found.duration_s > 3.1  # of 4; it was 2.6 where clients waited for each other


async def test_turns_that_wait_when_a_level_ends_by_its_time_break_nothing() -> None:
    turns = plan(40, tokens=100, concurrency=2, max_s=0.6)
    requests = tuple(replace(one, after=one.index - 2 if one.index >= 2 else None) for one in turns.requests)
    for rate in (None, 50.0):
        load = turns.load if rate is None else plan(2, rate=rate).load
        timed = tuple(replace(one, arrival_s=None if rate is None else one.index / rate) for one in requests)
        async with driving(FakeOpenAI(step_s=0.01), "good") as driver:
            found = await driver.level(replace(turns, load=load, requests=timed), lambda _: False)
        assert kinds(found) == {"unfinished": 2}


async def test_a_limit_of_this_system_is_not_the_engines_failure() -> None:
    async with driving(FakeOpenAI(), "good") as driver:
        await driver.level(plan(2), lambda _: False)
        (pid,) = driver.load_pids
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (24, 24))
        with pytest.raises(TrialFailed, match="load process") as caught:
            await driver.level(plan(100, concurrency=50), lambda _: False)
    assert caught.value.failure.cause is Cause.PROBE_ERROR
    assert "Too many open files" in caught.value.failure.evidence


async def test_a_turn_that_is_not_due_at_the_levels_end_is_never_sent() -> None:
    server = FakeOpenAI()
    turns = plan(2, rate=100, max_s=0.5)
    first, second = turns.requests
    turns = replace(turns, requests=(first, replace(second, after=0, think_s=60.0)))
    async with driving(server, "good") as driver:
        found = await driver.level(turns, lambda _: False)

    assert [record.planned.index for record in found.records] == [0]
    assert found.sent == len(server.bodies) == 1
