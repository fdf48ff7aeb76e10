"""The best so far is never a failed or infeasible trial, and never worse than another of the search."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.study.test_judge import verdicts
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.store import Phase, TrialKind, TrialRecord
from tuner.study.standing import baseline, incumbent, value_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)

kinds = st.sampled_from(TrialKind)
outcomes = st.lists(st.tuples(kinds, st.none() | verdicts), max_size=8)


def trials(outcomes: Sequence[tuple[TrialKind, Verdict | None]]) -> list[TrialRecord]:
    return [
        TrialRecord(n, 1, n, kind, Candidate(), "", None, Phase.TOLD, NOW, recorded=NOW, verdict=verdict)
        for n, (kind, verdict) in enumerate(outcomes)
    ]


@given(outcomes)
def test_the_incumbent_is_the_best_feasible_trial_outside_the_confirmation(outcomes):
    found = trials(outcomes)
    best = incumbent(found)
    values = [
        t.verdict.value
        for t in found
        if t.kind is not TrialKind.CONFIRM and t.verdict is not None and t.verdict.feasible
    ]
    assert value_of(best) == max(values, default=None)
    assert best is None or best.verdict.failure is None


@given(outcomes)
def test_the_incumbent_is_no_worse_than_the_baseline(outcomes):
    found = trials(outcomes)
    measured = value_of(baseline(found))
    assert measured is None or value_of(incumbent(found)) >= measured


def test_the_newest_baseline_counts():
    found = trials([(TrialKind.BASELINE, None), (TrialKind.SEARCH, None), (TrialKind.BASELINE, Verdict(3.0, {}))])
    assert value_of(baseline(found)) == 3.0
