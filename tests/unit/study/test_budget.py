"""The budget keeps the confirmation affordable and never begins what could not end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.unit.core.test_summary import level
from tuner.core.knob import Candidate
from tuner.core.measurement import Answer, Measurement
from tuner.core.summary import Summary
from tuner.store import Phase, PhaseRecord, TrialKind, TrialRecord
from tuner.study.budget import Budget, Ledger, killed_starts

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_search_leaves_the_starts_that_the_confirmation_needs():
    ledger = Ledger(Budget(starts=8, gpu_minutes=None, until=None, pairs=2))
    for _ in range(4):
        assert ledger.exhausted(NOW, 4) is None
        ledger.charge(gpu_s=60, wall_s=60)
    assert "4 are kept for the confirmation" in (ledger.exhausted(NOW, 4) or "")
    assert ledger.exhausted(NOW, 0) is None


def test_gpu_minutes_are_judged_by_what_starts_took_so_far():
    ledger = Ledger(Budget(starts=100, gpu_minutes=10, until=None, pairs=0))
    assert ledger.exhausted(NOW, 0) is None
    ledger.charge(gpu_s=240, wall_s=120)
    assert ledger.exhausted(NOW, 0) is None
    ledger.charge(gpu_s=240, wall_s=120)
    assert "GPU-minutes" in (ledger.exhausted(NOW, 0) or "")


def test_the_confirmation_is_set_aside_at_the_price_of_full_starts():
    ledger = Ledger(Budget(starts=100, gpu_minutes=30, until=None, pairs=2))
    ledger.charge(gpu_s=300, wall_s=300, full=True)
    for _ in range(3):
        assert ledger.exhausted(NOW, 4) is None
        ledger.charge(gpu_s=60, wall_s=60)
    # 8 minutes are used: 1 more and 4 x 5 fit into 30, and 4 x 1 more.
    for _ in range(2):
        assert ledger.exhausted(NOW, 4) is None
        ledger.charge(gpu_s=60, wall_s=60)
    assert "would not fit beside the confirmation" in (ledger.exhausted(NOW, 4) or "")
    for _ in range(4):
        assert ledger.exhausted(NOW, 0, full=True) is None
        ledger.charge(gpu_s=300, wall_s=300, full=True)
    assert ledger.gpu_s <= 30 * 60


def test_time_to_start_the_old_engine_is_kept():
    ledger = Ledger(Budget(starts=100, gpu_minutes=None, until=NOW + timedelta(minutes=10), pairs=2))
    assert ledger.left_s(NOW) == 300  # half, while nobody knows how long a start takes
    ledger.restore_s = 60
    assert ledger.left_s(NOW) == 540
    assert ledger.exhausted(NOW + timedelta(minutes=9), 0) is not None


def test_nothing_begins_that_could_not_end_and_be_restored_in_time():
    ledger = Ledger(Budget(starts=100, gpu_minutes=None, until=NOW + timedelta(minutes=10), pairs=0))
    assert ledger.exhausted(NOW, 0) is None
    ledger.charge(gpu_s=240, wall_s=240)
    assert ledger.exhausted(NOW, 0) is None
    assert "12:10" in (ledger.exhausted(NOW + timedelta(minutes=3), 0) or "")


def test_minutes_and_time_that_hardly_pay_a_confirmation_are_told_with_what_would_do():
    budget = Budget(starts=20, gpu_minutes=60, until=NOW + timedelta(minutes=60), pairs=6)
    minutes, until = budget.too_little(start_s=420, gpus=2, now=NOW)
    assert minutes == (
        "budget.gpu_minutes: 60 is probably too little: the baseline, one candidate and 12 starts to confirm it take "
        "about 196, else nothing is searched; give more, or fewer than 6 pairs"
    )
    assert until.startswith("until: 2026-01-01 13:00 is probably too soon: ")
    assert "about 98 min" in until
    assert "pairs" not in replace(budget, pairs=2).too_little(420, 2, NOW)[0]


def test_a_study_is_expected_to_take_no_longer_than_its_first_limit():
    budget = Budget(starts=10, gpu_minutes=None, until=None, pairs=2)
    assert budget.expected_s(start_s=60, gpus=2, now=NOW) == 600
    assert replace(budget, gpu_minutes=10).expected_s(60, 2, NOW) == 300
    assert replace(budget, gpu_minutes=10, until=NOW + timedelta(minutes=2)).expected_s(60, 2, NOW) == 120


def test_enough_is_not_complained_of():
    assert Budget(20, 200, NOW + timedelta(hours=2), pairs=6).too_little(420, 2, NOW) == []
    assert Budget(20, None, None, pairs=6).too_little(420, 2, NOW) == []


def phases(*begun: tuple[Phase, int]) -> tuple[PhaseRecord, ...]:
    return tuple(PhaseRecord(phase, NOW + timedelta(seconds=second)) for phase, second in begun)


def test_starts_that_were_killed_are_seen_in_a_trial_in_short_as_in_the_whole_one():
    fast, slow = level(6.0, Answer.PASS), level(3.0, Answer.PASS)  # 10 s and 20 s
    found = Measurement((slow,), 384.0, 0)
    twice = phases((Phase.STARTING, 0), (Phase.PROBING, 60), (Phase.STARTING, 200), (Phase.PROBING, 250))
    whole = TrialRecord(
        1, 1, 1, TrialKind.SEARCH, Candidate(), "", None, Phase.TOLD, NOW, recorded=NOW, phases=twice,
        levels=(fast, slow, slow), measurement=found, summary=Summary.of(found),
    )  # fmt: skip

    # The first start took 60 s until it was probed, and both levels that it lived to end.
    assert killed_starts(whole) == [60 + 10 + 20]
    assert killed_starts(replace(whole, measurement=None)) == killed_starts(whole)
    once = replace(whole, phases=twice[2:], levels=(slow,))
    assert killed_starts(once) == killed_starts(replace(once, measurement=None, levels=())) == []
