"""What is confirmed is as good as the best for all that is known, and the smallest change."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.core.workload import Objective, ObjectiveKind
from tuner.store import Phase, TrialKind, TrialRecord
from tuner.study.finalist import fewest_changes, finalist

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = {"max_num_seqs": 64, "block_size": 16, "enable_prefix_caching": True, "gpu_memory_utilization": 0.9}
BASELINE = Candidate.of(max_num_seqs=64)
SEQS = Candidate.of(max_num_seqs=128)
BOTH = Candidate.of(max_num_seqs=256, block_size=32)
NOISE = 0.035


def trial(candidate: Candidate, value: float | None, kind: TrialKind = TrialKind.SEARCH) -> TrialRecord:
    verdict = Verdict(value, {}) if value is not None else Verdict(None, {"ttft p95 <= 1s": 0.5})
    facts = EngineFacts("vllm", settings=dict(SETTINGS))
    return TrialRecord(
        *(1, 1, 1, kind, candidate, "", None, Phase.TOLD, NOW), recorded=NOW, verdict=verdict, facts=facts
    )


def found(baseline: float | None, *searched: tuple[Candidate, float | None], idle: tuple[str, ...] = ()) -> object:
    trials = [trial(BASELINE, baseline, TrialKind.BASELINE), *(trial(*one) for one in searched)]
    return finalist(trials, Objective(), NOISE, idle)


def test_of_two_that_differ_by_less_than_the_noise_the_smaller_change_is_confirmed() -> None:
    assert found(100.0, (BOTH, 120.0), (SEQS, 117.0)) == SEQS
    assert found(100.0, (BOTH, 120.0), (SEQS, 115.0)) == BOTH
    other = Candidate.of(max_num_seqs=96)
    assert found(100.0, (SEQS, 117.0), (other, 118.0), (BOTH, 120.0)) == other


def test_what_was_no_better_than_the_baseline_is_not_confirmed() -> None:
    assert found(118.0, (BOTH, 120.0), (SEQS, 117.0)) == BOTH
    assert found(121.0, (BOTH, 120.0), (SEQS, 117.0)) is None
    assert found(None, (BOTH, None), (SEQS, 1.0)) == SEQS
    assert found(None, (BOTH, None)) is None


def test_headrooms_differ_by_how_often_the_statistic_fits_its_bound() -> None:
    trials = [trial(BASELINE, 0.0, TrialKind.BASELINE), trial(BOTH, 0.05), trial(SEQS, 0.03)]
    assert finalist(trials, Objective(ObjectiveKind.HEADROOM, rate=1.0), NOISE) == SEQS


def test_knobs_that_do_nothing_are_left_as_they_were_and_count_for_nothing() -> None:
    share = Candidate.of(max_num_seqs=64, gpu_memory_utilization=0.8)
    idle = ("gpu_memory_utilization",)
    assert found(100.0, (share, 120.0)) == share
    assert found(100.0, (share, 120.0), idle=idle) is None
    both = SEQS.with_(gpu_memory_utilization=0.8, block_size=16)
    assert found(100.0, (both, 120.0), (share, 119.0), idle=idle) == SEQS
    set_before = trial(Candidate.of(gpu_memory_utilization=0.85), 1.0, TrialKind.BASELINE)
    assert fewest_changes(both, set_before, idle) == Candidate.of(max_num_seqs=128, gpu_memory_utilization=0.85)


def test_only_what_differs_from_what_the_engine_does_anyway_is_named() -> None:
    candidate = Candidate.of(max_num_seqs=64, block_size=32, enable_prefix_caching=True)
    assert fewest_changes(candidate, trial(BASELINE, 1.0)) == Candidate.of(max_num_seqs=64, block_size=32)


def test_a_confirmation_that_has_begun_keeps_its_finalist() -> None:
    begun = [trial(BASELINE, 100.0, TrialKind.CONFIRM), trial(BOTH, 110.0, TrialKind.CONFIRM)]
    searched = [trial(BASELINE, 100.0, TrialKind.BASELINE), trial(BOTH, 120.0), trial(SEQS, 117.0)]
    assert finalist(searched + begun[:1], Objective(), NOISE) == SEQS
    assert finalist(searched + begun, Objective(), NOISE) == BOTH


values = st.none() | st.floats(1, 1000)


@given(values, st.lists(st.tuples(st.sampled_from((BASELINE, SEQS, BOTH)), values), max_size=6))
def test_the_finalist_was_better_than_the_baseline_and_as_good_as_the_best(
    before: float | None, searched: list[tuple[Candidate, float | None]]
) -> None:
    chosen = found(before, *searched)
    good = [value for candidate, value in searched if candidate == chosen and value is not None]
    feasible = [value for _, value in searched if value is not None]
    if chosen is not None:
        assert max(good) > (before or 0)
        assert max(good) * (1 + NOISE) >= max(feasible)
