from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulator.engines import scheduler
from tuner.simulator.scheduler import Scheduler, SimRequest, StepOutcome, prefix_hashes


def drain(engine: Scheduler, limit: int = 100_000) -> list[StepOutcome]:
    outcomes = []
    while not engine.idle:
        outcomes.append(engine.step())
        assert len(outcomes) < limit
    return outcomes


def tokens_of(outcomes: list[StepOutcome]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for outcome in outcomes:
        for number, count in outcome.tokens:
            totals[number] = totals.get(number, 0) + count
    return totals


def test_a_request_gets_its_first_token_with_its_last_prompt_token() -> None:
    engine = scheduler()
    engine.add(SimRequest(1, 100, 3))
    outcomes = drain(engine)
    assert [outcome.tokens for outcome in outcomes] == [[(1, 1)]] * 3
    assert outcomes[-1].finished == [1]
    assert outcomes[0].duration_s > outcomes[1].duration_s


def test_long_prompts_are_prefilled_in_chunks_beside_decodes() -> None:
    engine = scheduler(max_num_batched_tokens=64)
    engine.add(SimRequest(1, 10, 20))
    engine.step()
    engine.add(SimRequest(2, 200, 1))
    outcomes = [engine.step() for _ in range(4)]
    assert [outcome.tokens for outcome in outcomes] == [[(1, 1)]] * 3 + [[(1, 1), (2, 1)]]  # 63 + 63 + 63 + 11
    assert outcomes[3].finished == [2]


def test_without_chunked_prefill_a_prompt_waits_for_a_step_that_holds_all_of_it() -> None:
    engine = scheduler(max_num_batched_tokens=128, enable_chunked_prefill=False, max_model_len=128)
    engine.add(SimRequest(1, 100, 5))
    engine.add(SimRequest(2, 100, 5))
    assert engine.step().tokens == [(1, 1)]
    assert engine.step().tokens == [(1, 1), (2, 1)]


def test_no_more_than_max_num_seqs_run() -> None:
    engine = scheduler(max_num_seqs=2)
    for number in range(5):
        engine.add(SimRequest(number, 10, 4))
    engine.step()
    assert (len(engine.running), len(engine.waiting)) == (2, 3)
    served: set[int] = set()
    while not engine.idle:
        served |= set(engine.step().finished)
        assert len(engine.running) <= 2
    assert served == {0, 1, 2, 3, 4}


def test_requests_are_served_in_order() -> None:
    engine = scheduler(max_num_seqs=1)
    for number in range(4):
        engine.add(SimRequest(number, 10, 2))
    assert [number for outcome in drain(engine) for number in outcome.finished] == [0, 1, 2, 3]


def test_a_shared_prefix_is_computed_once() -> None:
    engine = scheduler()
    hashes = prefix_hashes([("system prompt", 64)], 16)
    engine.add(SimRequest(1, 80, 2, hashes))
    engine.add(SimRequest(2, 80, 2, hashes))
    engine.step()
    assert engine.counters.prefix_hits == 64
    assert engine.counters.prefix_queries == 160
    assert engine.counters.prompt_tokens == 96


def test_the_last_block_of_a_fully_cached_prompt_is_computed_again() -> None:
    engine = scheduler()
    hashes = prefix_hashes([("prompt", 64)], 16)
    for number in (1, 2):
        engine.add(SimRequest(number, 64, 1, hashes))
        drain(engine)
    assert engine.counters.prefix_hits == 48


def test_the_most_recent_request_is_preempted_and_recomputed() -> None:
    engine = scheduler(kv_tokens=21 * 16)
    engine.add(SimRequest(1, 100, 120))
    engine.add(SimRequest(2, 100, 120))
    outcomes = drain(engine)
    assert engine.counters.preemptions >= 1
    assert [number for outcome in outcomes for number in outcome.finished] == [1, 2]
    assert tokens_of(outcomes) == {1: 120, 2: 120}
    assert engine.pool.free == engine.pool.total


def test_a_prompt_that_does_not_fit_now_waits_whole() -> None:
    engine = scheduler(kv_tokens=21 * 16, max_num_batched_tokens=32)
    engine.add(SimRequest(1, 160, 40))
    engine.add(SimRequest(2, 160, 40))
    for _ in range(8):
        engine.step()
    assert len(engine.running) == 1


def test_drafts_bring_several_tokens_per_step() -> None:
    all_right = scheduler(acceptance=1.0, speculative_method="ngram", num_speculative_tokens=3)
    all_right.add(SimRequest(1, 10, 9))
    assert [outcome.tokens for outcome in drain(all_right)] == [[(1, 1)], [(1, 4)], [(1, 4)]]
    all_wrong = scheduler(acceptance=0.0, speculative_method="ngram", num_speculative_tokens=3)
    all_wrong.add(SimRequest(1, 10, 9))
    assert len(drain(all_wrong)) == 9
    assert (all_wrong.counters.drafted, all_wrong.counters.accepted) == (24, 0)


def test_acceptance_gives_the_expected_tokens_per_step() -> None:
    # (1 - a^(k+1)) / (1 - a), the expectation of Leviathan et al. (2023).
    engine = scheduler(acceptance=0.75, speculative_method="eagle3", num_speculative_tokens=3, kv_tokens=64_000)
    for number in range(8):
        engine.add(SimRequest(number, 10, 3000))
    steps = len(drain(engine))
    assert 3000 / steps == pytest.approx((1 - 0.75**4) / 0.25, rel=0.05)


def test_a_cancelled_request_frees_its_blocks() -> None:
    engine = scheduler()
    engine.add(SimRequest(1, 100, 50))
    engine.step()
    engine.add(SimRequest(2, 100, 50))
    assert engine.cancel(1)
    assert engine.cancel(2)
    assert not engine.cancel(3)
    assert engine.idle
    assert engine.pool.free == engine.pool.total


def test_requests_that_never_fit_are_refused() -> None:
    engine = scheduler(kv_tokens=160)
    assert not engine.fits(SimRequest(1, 100, 100))
    assert engine.fits(SimRequest(1, 100, 44))
    assert not scheduler(max_model_len=128).fits(SimRequest(1, 100, 29))
    with pytest.raises(ValueError, match="can't be served"):
        engine.add(SimRequest(1, 100, 100))


def test_an_idle_engine_does_nothing() -> None:
    engine = scheduler()
    assert engine.idle
    assert engine.run_ahead(1.0) is None
    assert engine.kv_usage == 0


_REQUESTS = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 120), st.integers(0, 2), st.integers(0, 200)), min_size=1, max_size=16
)


@settings(max_examples=50, deadline=None)
@given(
    requests=_REQUESTS,
    blocks=st.integers(30, 200),
    seqs=st.integers(1, 8),
    tokens=st.integers(8, 256),
    caching=st.booleans(),
    drafted=st.integers(0, 2),
)
def test_every_request_is_served_and_every_block_comes_back(
    requests: list[tuple[int, int, int, int]], blocks: int, seqs: int, tokens: int, caching: bool, drafted: int
) -> None:
    engine = scheduler(
        blocks * 16,
        acceptance=0.5,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        enable_prefix_caching=caching,
        speculative_method="ngram" if drafted else "",
        num_speculative_tokens=drafted,
    )
    for number, (prompt, output, group, shared) in enumerate(requests):
        engine.add(SimRequest(number, prompt, output, prefix_hashes([(group, min(shared, prompt))], 16)))
    outcomes = drain(engine)
    assert tokens_of(outcomes) == {number: output for number, (_, output, _, _) in enumerate(requests)}
    assert sorted(number for outcome in outcomes for number in outcome.finished) == list(range(len(requests)))
    assert engine.pool.free == engine.pool.total
    assert engine.counters.generated_tokens == sum(output for _, output, _, _ in requests)


@settings(max_examples=50, deadline=None)
@given(requests=_REQUESTS, blocks=st.integers(30, 400), seqs=st.integers(1, 8), limit=st.floats(0.001, 1.0))
def test_stretches_are_what_single_steps_would_have_been(
    requests: list[tuple[int, int, int, int]], blocks: int, seqs: int, limit: float
) -> None:
    def serve(ahead: bool) -> dict[int, list[float]]:
        engine = scheduler(blocks * 16, max_num_seqs=seqs)
        for number, (prompt, output, group, shared) in enumerate(requests):
            engine.add(SimRequest(number, prompt, output, prefix_hashes([(group, min(shared, prompt))], 16)))
        now, seen = 0.0, dict[int, list[float]]()
        while not engine.idle:
            stretch = engine.run_ahead(limit) if ahead else None
            if stretch is None:
                outcome = engine.step()
                now += outcome.duration_s
                for number, _ in outcome.tokens:
                    seen.setdefault(number, []).append(now)
                continue
            assert sum(stretch.durations[:-1]) < limit
            for duration in stretch.durations:
                now += duration
                for number in stretch.ids:
                    seen[number].append(now)
        assert engine.pool.free == engine.pool.total
        return seen

    jumped, stepped = serve(True), serve(False)
    assert jumped.keys() == stepped.keys()
    for number, times in stepped.items():
        assert jumped[number] == pytest.approx(times, rel=1e-9)
