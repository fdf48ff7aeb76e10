from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulator.engines import PlainCost, request, scheduler
from tests.unit.simulator.engines import settings as engine_settings
from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.request import LevelPlan, LevelRecords, PlannedRequest, RequestRecord, Span
from tuner.core.workload import Lengths, Load, Workload
from tuner.simulator.requests import plan_requests
from tuner.simulator.run import LevelRun, Noise, simulate
from tuner.simulator.scheduler import Scheduler


def level(
    requests: Sequence[PlannedRequest],
    load: Load,
    looks: tuple[int, ...] = (),
    timeout_s: float = math.inf,
    max_s: float = math.inf,
) -> LevelPlan:
    return LevelPlan(load, tuple(requests), looks, timeout_s, max_s)


def poisson(count: int, rate: float, **lengths: int) -> tuple[tuple[PlannedRequest, ...], Load]:
    load = Load(rate=rate)
    workload = Workload(Lengths(lengths.get("prompt", 100)), Lengths(lengths.get("output", 20)))
    return plan_requests(workload, load, count, seed=5), load


class SlowFrontEnd(PlainCost):
    def admission_s(self, prompt_tokens: int) -> float:
        return 0.01 + 0.001 * prompt_tokens


def test_a_lone_request_takes_its_steps() -> None:
    records = LevelRun(scheduler(), level([request(0, 100, 3)], Load(concurrency=1))).run()
    (record,) = records.records
    assert record.token_s == pytest.approx((0.011, 0.01211, 0.013221))
    assert record.ok
    assert record.event_tokens == (1, 1, 1)
    assert (record.prompt_tokens, record.output_tokens) == (100, 3)
    assert records.duration_s == record.end_s == record.token_s[-1]


def test_a_closed_loop_keeps_its_clients_busy() -> None:
    records = LevelRun(scheduler(), level([request(i) for i in range(20)], Load(concurrency=4))).run()
    assert (records.sent, len(records.records)) == (20, 20)
    assert [record.planned.index for record in records.records] == list(range(20))
    starts = sorted(record.sent_s for record in records.records)
    ends = sorted(record.end_s for record in records.records)
    assert starts[4:] == pytest.approx(ends[:16])


def test_an_open_loop_sends_on_time_whatever_the_engine_does() -> None:
    requests, load = poisson(50, 200.0)
    records = LevelRun(scheduler(max_num_seqs=2), level(requests, load)).run()
    for record in records.records:
        assert record.scheduled_s == record.sent_s == record.planned.arrival_s
    assert records.records[-1].ttft_s > 2 * records.records[0].ttft_s  # type: ignore[operator]


def test_prompts_queue_at_the_front_end() -> None:
    engine = Scheduler(engine_settings(), 16_384, SlowFrontEnd())
    records = LevelRun(engine, level([request(i, 90, 1) for i in range(3)], Load(concurrency=3))).run()
    first = [record.ttft_s for record in records.records]
    assert first == pytest.approx([0.11, 0.21, 0.31])


def test_a_look_that_says_stop_ends_the_level_and_drains_the_engine() -> None:
    engine = scheduler()
    seen: list[int] = []

    def stop(records: Sequence[RequestRecord]) -> bool:
        seen.append(len(records))
        return len(records) >= 10

    records = LevelRun(
        engine, level([request(i) for i in range(40)], Load(concurrency=4), looks=(5, 10, 20)), stop=stop
    ).run()
    assert seen == [5, 10]
    assert len(records.records) == 10
    assert records.sent <= 14
    assert engine.idle
    assert engine.pool.free == engine.pool.total


def test_clients_give_up_at_their_timeout() -> None:
    engine = scheduler(max_num_seqs=1)
    requests = [request(0, 100, 200), request(1, 100, 200)]
    records = LevelRun(engine, level(requests, Load(concurrency=2), timeout_s=0.3)).run()
    done, late = records.records
    assert done.ok
    assert late.error == "timeout"
    assert late.end_s == pytest.approx(0.3)
    assert 0 < late.output_tokens < 200
    assert all(at <= 0.3 for at in late.token_s)
    assert engine.idle


def test_the_end_of_a_level_leaves_unsent_requests_out() -> None:
    requests, load = poisson(100, 100.0, output=50)
    records = LevelRun(scheduler(), level(requests, load, max_s=0.4)).run()
    assert records.sent == sum((planned.arrival_s or 0) <= 0.4 for planned in requests) == len(records.records)
    unfinished = [record for record in records.records if not record.ok]
    assert unfinished
    assert {record.error for record in unfinished} == {"unfinished"}
    assert all(record.end_s == 0.4 for record in unfinished)


def test_requests_that_do_not_fit_the_engine_are_errors() -> None:
    records = LevelRun(scheduler(max_model_len=256), level([request(0, 300, 5), request(1)], Load(concurrency=1))).run()
    refused, served = records.records
    assert refused.error is not None
    assert "maximum context length is 256" in refused.error
    assert served.ok


def test_prefixes_stay_warm_from_level_to_level() -> None:
    engine = scheduler()
    requests = [request(i, 100, 2, prefix=(Span((0,), 64),)) for i in range(4)]
    for hits in (3, 4):
        before = engine.counters.prefix_hits
        LevelRun(engine, level(requests, Load(concurrency=1))).run()
        assert engine.counters.prefix_hits - before == hits * 64


def test_a_dying_engine_is_told_by_the_watch() -> None:
    def watch(engine: Scheduler) -> None:
        if len(engine.running) >= 3:
            raise TrialFailed(Failure(Cause.CRASH_UNDER_LOAD, "gone"))

    engine = scheduler()
    run = LevelRun(engine, level([request(i) for i in range(9)], Load(concurrency=5)), watch=watch)
    with pytest.raises(TrialFailed, match="gone"):
        run.run()
    assert run.elapsed_s > 0
    assert engine.idle


def test_noise_is_mean_true_and_repeats_by_seed() -> None:
    durations = [0.01] * 4000
    noisy = Noise(3, scale=1.1, jitter=0.02).apply(durations)
    assert noisy == Noise(3, scale=1.1, jitter=0.02).apply(durations)
    assert noisy != Noise(4, scale=1.1, jitter=0.02).apply(durations)
    assert statistics.mean(noisy) == pytest.approx(0.011, rel=0.01)
    assert Noise(3, scale=1.1).apply([1.0]) == [1.1]


def test_capacity_has_an_edge() -> None:
    def p95(rate: float) -> float:
        requests, load = poisson(300, rate)
        records = simulate(engine_settings(), 16_384, PlainCost(), requests, load)
        return statistics.quantiles([record.ttft_s or 0 for record in records.records], n=20)[-1]

    below, above = p95(20), p95(200)
    assert below < 0.1 < 1 < above


@pytest.mark.parametrize("kind", ["open", "closed"])
def test_the_same_seed_gives_the_same_level(kind: str) -> None:
    requests, load = poisson(60, 50.0)
    if kind == "closed":
        load = Load(concurrency=6)
    first, second = (
        simulate(engine_settings(), 16_384, PlainCost(), requests, load, seed=1, noise=0.02) for _ in range(2)
    )
    assert first == second


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 40),
    rate=st.floats(1, 500),
    clients=st.one_of(st.none(), st.integers(1, 12)),
    timeout=st.floats(0.05, 5),
    longest=st.floats(0.05, 5),
    drafted=st.integers(0, 3),
    blocks=st.integers(12, 300),
)
def test_records_always_make_sense(
    count: int, rate: float, clients: int | None, timeout: float, longest: float, drafted: int, blocks: int
) -> None:
    requests, load = poisson(count, rate)
    if clients:
        load = Load(concurrency=clients)
    engine = scheduler(
        blocks * 16,
        acceptance=0.6,
        speculative_method="ngram" if drafted else "",
        num_speculative_tokens=drafted,
    )
    plan = level(requests, load, timeout_s=timeout, max_s=longest)
    records: LevelRecords = LevelRun(engine, plan, noise=Noise(1, jitter=0.02)).run()
    assert engine.idle
    assert engine.pool.free == engine.pool.total
    assert len(records.records) == records.sent <= count
    for record in records.records:
        assert list(record.token_s) == sorted(record.token_s)
        assert len(record.token_s) == len(record.event_tokens)
        assert record.output_tokens == sum(record.event_tokens)
        assert record.ok == (record.output_tokens == record.planned.output_tokens and record.error is None)
        assert record.sent_s >= record.scheduled_s
        assert record.end_s >= (record.token_s[-1] if record.token_s else record.sent_s)
        if record.ok:
            assert record.e2e_s >= (record.ttft_s or 0) > 0


def test_drawn_lengths_have_the_stated_mean_and_spread() -> None:
    workload = Workload(Lengths(500, 0.5), Lengths(100, 1.0), shared_prefix=64, prefix_groups=3)
    requests = plan_requests(workload, Load(rate=10.0), 4000, seed=2)
    prompts = [planned.prompt_tokens - 64 for planned in requests]
    assert statistics.mean(prompts) == pytest.approx(500, rel=0.04)
    assert statistics.stdev(prompts) == pytest.approx(250, rel=0.1)
    assert statistics.mean(planned.output_tokens for planned in requests) == pytest.approx(100, rel=0.08)
    assert {planned.prefix[0].id for planned in requests} == {(0,), (1,), (2,)}
    assert requests[-1].arrival_s == pytest.approx(400, rel=0.06)
