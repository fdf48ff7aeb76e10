"""The process that makes the load: killed, cancelled, orphaned, held up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.probe.driving import driving, eventually, plan
from tests.integration.probe.fake_openai import FakeOpenAI, read_counters
from tuner.core.cause import Cause, TrialFailed
from tuner.probe import http_driver


async def test_a_killed_load_process_is_a_probe_error_and_the_next_level_gets_a_new_one() -> None:
    async with driving(FakeOpenAI(), "good") as driver:
        level = asyncio.create_task(driver.level(plan(400, rate=50), lambda _: False))
        await eventually(lambda: driver.load_pid is not None)
        await asyncio.sleep(1)
        assert driver.load_pid is not None
        os.kill(driver.load_pid, signal.SIGKILL)
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
        "from tuner.probe.load_process import LoadProcess\n"
        "async def main():\n"
        "    process = await LoadProcess.start()\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[3])
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
            pid = driver.load_pid
            assert pid is not None
            for _ in range(4):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(0.15)
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.15)
            found = await level
        finally:
            await driver.close()

    assert found.lag_p99_s > 0.05
