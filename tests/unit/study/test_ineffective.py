"""Which knobs did nothing is read off the starts on record, on every kind of target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.unit.study.test_confirm import FEW, loop_with
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.engines.vllm import VLLM
from tuner.search import RandomSampler
from tuner.store import Phase, Store, TrialKind, TrialRecord
from tuner.study.ineffective import ineffective
from tuner.study.loop import TrialLoop
from tuner.study.resuming import resume
from tuner.targets.target import Progress, Running

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def idle(*starts: tuple[Candidate, int | None]) -> tuple[str, ...]:
    """By candidates and the tokens of their KV caches; None: it did not start."""
    return ineffective(
        VLLM,
        [
            TrialRecord(
                *(n, 1, n, TrialKind.SEARCH, candidate, "", None, Phase.TOLD, NOW),
                facts=EngineFacts("vllm", kv_cache_tokens=tokens) if tokens else None,
            )
            for n, (candidate, tokens) in enumerate(starts)
        ],
    )


def test_a_memory_share_that_never_changes_the_cache_is_ineffective() -> None:
    low, high = Candidate.of(gpu_memory_utilization=0.5), Candidate.of(gpu_memory_utilization=0.9, max_num_seqs=8)
    assert idle((low, 1000), (high, 1000)) == ("gpu_memory_utilization",)
    assert idle((low, 1000), (high, 2000)) == ()
    assert idle((low, 1000), (low, 1000)) == ()
    assert idle((low, 1000), (high, None)) == ()
    other = high.with_(kv_cache_dtype="fp8")
    assert idle((low, 1000), (other, 1000)) == ()


def test_what_the_engine_says_it_runs_with_counts_where_nothing_was_set() -> None:
    default = EngineFacts("vllm", settings={"gpu_memory_utilization": 0.92}, kv_cache_tokens=1000)
    started = [
        TrialRecord(*(n, 1, n, TrialKind.SEARCH, candidate, "", None, Phase.TOLD, NOW), facts=facts)
        for n, (candidate, facts) in enumerate(
            [(Candidate(), default), (Candidate.of(gpu_memory_utilization=0.5), replace(default, settings={}))]
        )
    ]
    assert ineffective(VLLM, started) == ("gpu_memory_utilization",)


def test_of_two_knobs_for_one_figure_the_one_that_leaves_it_alone_is_ineffective() -> None:
    share = [Candidate.of(gpu_memory_utilization=value, num_gpu_blocks_override=64) for value in (0.5, 0.6)]
    more = share[0].with_(num_gpu_blocks_override=128)
    assert idle((share[0], 1024), (share[1], 1024), (more, 2048)) == ("gpu_memory_utilization",)


def test_what_acts_through_more_than_one_figure_is_never_called_ineffective() -> None:
    few, many = Candidate.of(max_num_seqs=8, block_size=32), Candidate.of(max_num_seqs=64, block_size=64)
    assert idle((few, 1000), (many, 1000)) == ()


def of_one_size(loop: TrialLoop) -> TrialLoop:
    """A loop on a target whose KV cache has one size, whatever is asked for."""
    apply: Callable = loop.target.apply

    async def fixed(candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        running = await apply(candidate, deadline_s, progress)
        return replace(running, facts=replace(running.facts, kv_cache_tokens=50_000))

    loop.target.apply = fixed  # type: ignore[method-assign]
    return loop


async def test_what_was_seen_before_a_kill_is_known_after_it(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = of_one_size(await loop_with(store, FEW))
        await loop.measure_baseline()
        for share in (0.9, 0.94):
            candidate = FEW.with_(gpu_memory_utilization=share)
            await loop.carry_out(await loop.begin(TrialKind.SEARCH, candidate, "", ticket=None))
        seen = loop.ineffective

        again = replace(loop, trials=[], sampler=RandomSampler(loop.space, 1))
        await resume(again)

        assert again.ineffective == seen == ("gpu_memory_utilization",)
