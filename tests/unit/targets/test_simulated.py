from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import InvalidInput, Refused
from tuner.core.knob import Candidate
from tuner.core.request import Driver, LevelPlan, LevelRecords, RequestRecord
from tuner.core.workload import Load, Workload
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.memory import calibrate, constants_for, plan
from tuner.simulator.requests import plan_requests
from tuner.simulator.settings import resolve
from tuner.simulator.truth import Truth
from tuner.targets.simulated import SimulatedTarget
from tuner.targets.target import Running, Target

LLAMA, H100 = MODELS["Llama-3.1-8B"], GPUS["H100"]
FIXED = {"max_model_len": 8192}
BASELINE = Candidate.of(max_num_seqs=128)


def make(seed: int = 0, **more: object) -> SimulatedTarget:
    return SimulatedTarget(LLAMA, H100, 1, BASELINE, FIXED, seed, **more)  # type: ignore[arg-type]


async def acquired(seed: int = 0, **more: object) -> SimulatedTarget:
    target = make(seed, **more)
    await target.acquire("study")
    return target


def quiet(_: str) -> None:
    """Nobody listens to the progress."""


def never(_: Sequence[RequestRecord]) -> bool:
    return False


async def start(target: SimulatedTarget, **values: bool | int | float | str) -> Running:
    return await target.apply(Candidate.of(values), 900, quiet)


async def load(running: Running, rate: float = 10.0, count: int = 120) -> LevelRecords:
    assert running.driver is not None
    at = Load(rate=rate)
    requests = plan_requests(Workload(), at, count, seed=1)
    return await running.driver.level(LevelPlan(at, requests, (), 60.0, 600.0), never)


def throughput(records: LevelRecords) -> float:
    return sum(record.output_tokens for record in records.records) / records.duration_s


async def test_it_is_a_target_whose_driver_is_a_driver() -> None:
    target = await acquired()
    as_target: Target = target
    running = await as_target.apply(BASELINE, 900, quiet)
    driver: Driver | None = running.driver
    assert driver is not None
    assert running.endpoint is None
    assert not driver.needs_text


async def test_inspection_tells_what_runs_and_changes_nothing() -> None:
    target = make()
    info = await target.inspect()
    assert (info.engine, info.model, info.gpu, info.gpu_count) == ("vllm", "Llama-3.1-8B", H100, 1)
    assert (info.baseline, info.fixed, info.simulated) == (BASELINE, FIXED, True)
    assert target.now() == 0


async def test_starts_and_levels_take_virtual_time() -> None:
    target = await acquired()
    running = await start(target)
    assert target.now() == running.start_s > 30
    records = await load(running)
    assert target.now() == pytest.approx(running.start_s + records.duration_s)


async def test_a_long_level_leaves_the_event_loop_to_others_and_ends_when_it_is_cancelled() -> None:
    running = await start(await acquired())
    assert running.driver is not None
    at = Load(rate=60.0)
    requests = plan_requests(Workload(), at, 100_000, seed=1)  # half a minute of the processor's
    level = asyncio.create_task(running.driver.level(LevelPlan(at, requests, (), 1e4, 1e4), never))
    for _ in range(3):
        await asyncio.sleep(0.01)
    assert not level.done()
    level.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(level, 5)


async def test_a_started_engine_reports_resolved_settings_and_memory() -> None:
    target = await acquired(3)
    facts = (await start(target, max_num_seqs=64)).facts
    assert facts.settings is not None
    assert facts.settings["max_num_seqs"] == 64
    assert facts.settings["max_num_batched_tokens"] == 8192
    settings = resolve({"max_num_seqs": 64}, FIXED, LLAMA, H100, 1)
    learnt = calibrate(constants_for(None), facts, settings, LLAMA, H100)
    assert plan(LLAMA, H100, settings, learnt).kv_tokens == pytest.approx(facts.kv_cache_tokens, abs=32)
    other = (await start(target, gpu_memory_utilization=0.8, max_num_batched_tokens=2048)).facts
    settings = resolve({"gpu_memory_utilization": 0.8, "max_num_batched_tokens": 2048}, FIXED, LLAMA, H100, 1)
    assert plan(LLAMA, H100, settings, learnt).kv_tokens == pytest.approx(other.kv_cache_tokens, rel=0.005)


@pytest.mark.parametrize(
    ("values", "cause", "words"),
    [
        ({"max_num_seqs": 512, "max_num_batched_tokens": 256}, Cause.BAD_FLAG, "must be greater than or equal to"),
        ({"gpu_memory_utilization": 1.0}, Cause.GPU_OOM_AT_START, "is less than desired GPU memory utilization"),
        ({"gpu_memory_utilization": 0.1}, Cause.KV_CACHE_TOO_SMALL, "No available memory for the cache blocks"),
        ({"num_gpu_blocks_override": 50}, Cause.KV_CACHE_TOO_SMALL, "To serve at least one request"),
    ],
)
async def test_failures_name_their_cause_and_cost_less_than_a_start(
    values: dict[str, float], cause: Cause, words: str
) -> None:
    target = await acquired()
    with pytest.raises(TrialFailed) as caught:
        await start(target, **values)
    assert caught.value.failure.cause is cause
    assert words in caught.value.failure.message
    failed_s = target.now()
    assert target.current is None
    assert failed_s < (await start(target)).start_s


async def test_a_start_slower_than_its_deadline_ends_at_the_deadline() -> None:
    target = await acquired()
    with pytest.raises(TrialFailed) as caught:
        await target.apply(BASELINE, 20.0, quiet)
    assert caught.value.failure.cause is Cause.SLOW_START
    assert target.now() == 20.0


async def test_the_same_seed_and_calls_give_the_same_results() -> None:
    async def session() -> tuple[list[LevelRecords], float]:
        target = await acquired(11)
        seen = []
        for _ in range(2):
            running = await start(target, max_num_seqs=64)
            seen += [await load(running), await load(running, 20.0)]
        return seen, target.now()

    assert await session() == await session()


async def test_each_start_draws_its_own_noise() -> None:
    target = await acquired(5)
    at = Load(concurrency=16)
    requests = plan_requests(Workload(), at, 100, seed=1)
    rates, start_s = [], []
    for _ in range(2):
        running = await start(target)
        start_s.append(running.start_s)
        assert running.driver is not None
        rates.append(throughput(await running.driver.level(LevelPlan(at, requests, (), 60, 600), never)))
    assert start_s[0] != start_s[1]
    assert rates[0] != rates[1]
    assert rates[0] == pytest.approx(rates[1], rel=0.2)


async def test_more_sequences_serve_more_when_there_is_demand() -> None:
    target = await acquired(0, truth=Truth(0, noise=False))
    few, many = await load(await start(target, max_num_seqs=8), 40.0), await load(await start(target), 40.0)
    assert throughput(many) > 1.5 * throughput(few)


async def test_an_engine_that_runs_out_of_memory_under_load_says_so_when_asked() -> None:
    edge = {"gpu_memory_utilization": 0.96, "max_num_seqs": 1024}
    settings = resolve(edge, FIXED, LLAMA, H100, 1)

    def fragile(seed: int) -> bool:
        memory = plan(LLAMA, H100, settings, Truth(seed).memory(None))
        return memory.refusal is None and Truth(seed).fragility(memory, settings, 1).running is not None

    target = await acquired(next(seed for seed in range(200) if fragile(seed)))
    running = await start(target, **edge)
    assert running.driver is not None
    crowd = Load(concurrency=1000)
    requests = plan_requests(Workload(), crowd, 1000, seed=1)
    with pytest.raises(TrialFailed) as caught:
        await running.driver.level(LevelPlan(crowd, requests, (), 600, 600), never)
    seen = caught.value.failure
    assert seen.cause is Cause.CRASH_UNDER_LOAD
    assert (await target.diagnose(seen)).cause is Cause.GPU_OOM_UNDER_LOAD
    assert target.current is None
    with pytest.raises(TrialFailed):
        await load(running)
    after = await start(target)
    assert len((await load(after)).records) == 120


async def test_what_the_target_knows_nothing_of_stays_as_it_was_seen() -> None:
    target = await acquired()
    seen = Failure(Cause.CRASH_UNDER_LOAD, "streams broke")
    assert await target.diagnose(seen) is seen


async def test_an_engine_that_was_replaced_no_longer_serves() -> None:
    target = await acquired()
    old = await start(target)
    await start(target, max_num_seqs=64)
    with pytest.raises(TrialFailed, match="was stopped"):
        await load(old)


async def test_restoring_brings_the_baseline_back_at_any_time() -> None:
    target = await acquired()
    assert target.current == BASELINE
    await start(target, max_num_seqs=64)
    assert target.current == Candidate.of(max_num_seqs=64)
    for _ in range(2):
        await target.restore()
        assert target.current == BASELINE
    await target.release()


async def test_one_holder_at_a_time() -> None:
    target = make()
    with pytest.raises(Refused, match="was not acquired"):
        await start(target)
    await target.acquire("one")
    await target.acquire("one")
    with pytest.raises(Refused, match="one"):
        await target.acquire("two")
    await target.release()
    await target.acquire("two")


def test_a_baseline_that_would_not_start_is_refused() -> None:
    with pytest.raises(InvalidInput, match="baseline"):
        SimulatedTarget(MODELS["Llama-3.1-70B"], GPUS["L4"])


async def test_output_checks_see_a_changed_cache() -> None:
    target = await acquired()
    outputs = []
    for dtype in ("auto", "auto", "int8_per_token_head"):
        running = await start(target, kv_cache_dtype=dtype)
        assert running.driver is not None
        outputs.append(await running.driver.greedy(["a", "b"], 8))
        await running.driver.close()
    assert outputs[0] == outputs[1] != outputs[2]
