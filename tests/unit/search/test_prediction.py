"""What is expected of a configuration before anything was started."""

import dataclasses

import pytest

from tests.unit.search.targets import H100, LLAMA
from tuner.core.cause import Cause
from tuner.core.errors import InvalidInput
from tuner.core.knob import Candidate
from tuner.core.slo import Metric, parse_slo
from tuner.core.workload import Count, Lengths, Load, Objective, ObjectiveKind, Workload
from tuner.search import Expecting, predict
from tuner.search.rehearsal import rehearse
from tuner.search.steady import capacity, steady
from tuner.simulator.catalogue import find_gpu, find_model

WORKLOAD = Workload(Lengths(512, 0.5), Lengths(128, 0.5))
SLOS = (parse_slo("ttft p95 <= 500ms"), parse_slo("itl p99 <= 60ms"))


def expecting(**changes: object) -> Expecting:
    base = Expecting(LLAMA, H100, WORKLOAD, Objective(), SLOS, fixed={"max_model_len": 8192}, version="0.30.0")
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_few_sequences_serve_less() -> None:
    few, many = predict(Candidate.of(max_num_seqs=8), expecting()), predict(Candidate.of(max_num_seqs=256), expecting())
    assert few.value is not None
    assert many.value is not None
    assert few.value < 0.6 * many.value
    assert few.rank < many.rank
    assert max(many.margins.values()) <= 0


def test_prediction_names_what_the_engine_would_resolve() -> None:
    found = predict(Candidate(), expecting())
    assert found.settings["max_num_seqs"] == 1024
    assert found.kv_tokens is not None
    assert found.memory is not None
    assert found.kv_tokens == found.memory.kv_tokens > 100_000
    assert found.rate is not None
    assert found.value == pytest.approx(found.rate * 128)


def test_value_is_counted_as_the_objective_says() -> None:
    per_request = predict(Candidate(), expecting(objective=Objective(count=Count.REQUESTS)))
    total = predict(Candidate(), expecting(objective=Objective(count=Count.TOTAL_TOKENS)))
    assert per_request.value == per_request.rate
    assert total.value == pytest.approx((per_request.value or 0) * 640)


def test_refusal_is_foreseen_and_ranks_last() -> None:
    too_long = predict(Candidate(), expecting(gpu=find_gpu("L4"), fixed={"max_model_len": 131072}))
    assert too_long.refusal is not None
    assert too_long.refusal.cause is Cause.KV_CACHE_TOO_SMALL
    bad = predict(Candidate.of(max_num_seqs=4096, max_num_batched_tokens=512), expecting())
    assert bad.refusal is not None
    assert bad.refusal.cause is Cause.BAD_FLAG
    assert too_long.rank == bad.rank < predict(Candidate(), expecting()).rank


def test_slo_that_nothing_meets_has_no_value_but_margins() -> None:
    slo = parse_slo("ttft p95 <= 1ms")
    found = predict(Candidate(), expecting(slos=(slo,)))
    assert found.value is None
    assert found.margins[str(slo)] > 0


def test_throughput_and_headroom_have_their_own_values() -> None:
    closed = Objective(ObjectiveKind.THROUGHPUT, concurrency=32)
    few = predict(Candidate.of(max_num_seqs=4), expecting(objective=closed, slos=()))
    many = predict(Candidate.of(max_num_seqs=64), expecting(objective=closed, slos=()))
    assert (few.value or 0) < (many.value or 0)
    calm = predict(Candidate(), expecting(objective=Objective(ObjectiveKind.HEADROOM, rate=2.0)))
    busy = predict(Candidate(), expecting(objective=Objective(ObjectiveKind.HEADROOM, rate=20.0)))
    assert (calm.value or 0) > (busy.value or 0) > 0


def test_without_latency_slos_capacity_is_what_it_can_serve() -> None:
    found = predict(Candidate(), expecting(slos=()))
    limited = predict(Candidate(), expecting())
    assert found.value is not None
    assert limited.value is not None
    assert found.value > 0.9 * limited.value


def test_closed_form_orders_as_the_simulation_does() -> None:
    """Over the number of sequences, where both see a factor of ten between the worst and the best."""
    rough, simulated = [], []
    for seqs in (4, 8, 16, 32, 128):
        engine, _ = expecting().engine(Candidate.of(max_num_seqs=seqs))
        rough.append(capacity(engine, WORKLOAD, SLOS))
        simulated.append(predict(Candidate.of(max_num_seqs=seqs), expecting()).rate or 0.0)
    assert rough == sorted(rough)
    assert simulated == sorted(simulated)
    assert all(0.5 < a / b < 2 for a, b in zip(rough, simulated, strict=True))


def test_no_steady_state_beyond_what_the_engine_can_do() -> None:
    engine, _ = expecting().engine(Candidate())
    assert steady(engine, WORKLOAD, 1.0) is not None
    assert steady(engine, WORKLOAD, 1000.0) is None


@pytest.mark.parametrize(("prompt", "output"), [(100, 1000), (512, 512)])
def test_no_more_is_expected_than_a_full_engine_completes(prompt: int, output: int) -> None:
    workload = Workload(Lengths(prompt), Lengths(output))
    clients = 256  # all that the engine takes in, and the KV cache holds
    ahead = expecting(workload=workload, slos=(parse_slo("ttft p95 <= 500ms"),))
    engine, _ = ahead.engine(Candidate.of(max_num_seqs=clients))
    full = rehearse(engine, workload, Load(concurrency=clients), requests=4 * clients, seed=1).rate

    assert predict(Candidate.of(max_num_seqs=clients), ahead).rate == pytest.approx(full, rel=0.25)


def test_a_cached_prefix_takes_its_room_once() -> None:
    alone = Workload(Lengths(100), Lengths(1000))
    shared = dataclasses.replace(alone, shared_prefix=2000, prefix_groups=2)
    engine, _ = expecting().engine(Candidate.of(enable_prefix_caching=True))

    def held(tokens: int, workload: Workload) -> float:
        return capacity(dataclasses.replace(engine, kv_tokens=tokens), workload, ())

    assert held(24_000, shared) == pytest.approx(held(20_000, alone), rel=0.2)


def test_rehearsal_counts_what_does_not_fit_as_unserved() -> None:
    engine, _ = expecting(model=find_model("Qwen3-8B"), gpu=find_gpu("L4"), fixed={"max_model_len": 2048}).engine({})
    starved = dataclasses.replace(engine, kv_tokens=256)
    seen = rehearse(starved, WORKLOAD, Load(rate=1.0), requests=50, seed=1)
    assert seen.unserved > 0
    assert seen.violation(parse_slo("error rate <= 1%")) > 0


def test_rehearsal_sees_every_request_and_token_once() -> None:
    engine, _ = expecting().engine(Candidate.of(max_num_seqs=16))
    workload = Workload(Lengths(300), Lengths(40), shared_prefix=256, prefix_groups=3)
    for load in (Load(rate=10.0), Load(concurrency=8)):
        seen = rehearse(engine, workload, load, requests=100, seed=2)
        assert len(seen.samples[Metric.TTFT]) == len(seen.samples[Metric.E2E]) == 85
        assert len(seen.samples[Metric.ITL]) == 85 * 39
        assert all(value > 0 for values in seen.samples.values() for value in values)
        assert min(seen.samples[Metric.E2E]) > min(seen.samples[Metric.TTFT])


@pytest.mark.parametrize("clients", [8, 64, 128])
def test_clients_that_begin_together_are_answered_at_their_own_pace(clients: int) -> None:
    engine, _ = expecting().engine(Candidate())
    seen = rehearse(engine, Workload(Lengths(100), Lengths(300)), Load(concurrency=clients), requests=512, seed=1)
    e2e = seen.samples[Metric.E2E]
    assert seen.rate == pytest.approx(clients / (sum(e2e) / len(e2e)), rel=0.15)


def test_higher_rate_is_never_faster() -> None:
    engine, _ = expecting().engine(Candidate.of(max_num_seqs=32))
    slo = SLOS[0]
    told = [rehearse(engine, WORKLOAD, Load(rate=r), requests=120, seed=3).violation(slo) for r in (2, 10, 30)]
    assert told == sorted(told)


def test_nothing_is_expected_of_a_value_that_the_simulator_does_not_know() -> None:
    with pytest.raises(InvalidInput, match="nvfp4"):
        predict(Candidate.of(kv_cache_dtype="nvfp4"), expecting())
