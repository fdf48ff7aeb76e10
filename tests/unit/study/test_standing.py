"""The best so far is never a failed or infeasible trial, and never worse than another of the search."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.study.test_judge import verdicts
from tuner.core.knob import Candidate
from tuner.core.measurement import Answer, Verdict
from tuner.core.summary import Summary
from tuner.core.workload import Load
from tuner.store import Phase, StudyRecord, StudyState, TrialKind, TrialRecord
from tuner.study.claim import _here
from tuner.study.standing import baseline, incumbent, proven_rates, state_of, value_of

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


FOUND, WINNER = Candidate.of(max_num_seqs=8), Candidate.of(max_num_seqs=64)


def finished(kind: str = "capacity", *, exportable: bool = True) -> StudyRecord:
    spec, result = {"objective": {"kind": kind}}, {"exportable": exportable, "finalist": dict(WINNER)}
    return StudyRecord(1, "a", "t", "f", spec, {}, StudyState.FINISHED, "", result, None, None, NOW, NOW)


def start(kind: TrialKind, candidate: Candidate, rate: float, answer: Answer = Answer.PASS) -> TrialRecord:
    summary = Summary(None, Load(rate=rate), answer, rate, 0.0, 0.0, {}, (), ())
    verdict = Verdict(rate, {})
    record = TrialRecord(1, 1, 1, kind, candidate, "", None, Phase.TOLD, NOW, recorded=NOW, verdict=verdict)
    return replace(record, summary=summary)


def test_what_is_promised_is_the_least_rate_that_every_fresh_start_was_proven_at() -> None:
    found = [
        start(TrialKind.BASELINE, FOUND, 9.0),
        start(TrialKind.SEARCH, WINNER, 30.0),  # one lucky start
        *(start(TrialKind.CONFIRM, FOUND, rate) for rate in (5.0, 4.0)),
        *(start(TrialKind.CONFIRM, WINNER, rate) for rate in (14.0, 15.0)),
    ]
    assert proven_rates(finished(), found) == (4.0, 14.0)
    assert proven_rates(finished("throughput"), found) is None
    assert proven_rates(finished(exportable=False), found) is None
    missed = start(TrialKind.CONFIRM, FOUND, 4.0, Answer.FAIL)
    assert proven_rates(finished(), [*found, missed]) == (None, 14.0)
    lost = replace(missed, summary=None, verdict=None)  # its node went away, and it was started again
    assert proven_rates(finished(), [*found, lost, replace(lost, candidate=WINNER)]) == (4.0, 14.0)


@pytest.mark.parametrize(
    ("state", "holder", "left_s", "expected"),
    [
        (StudyState.CREATED, None, None, "created"),  # its process is about to claim it
        (StudyState.CREATED, "elsewhere:1:x", 9, "created"),
        (StudyState.CREATED, "elsewhere:1:x", -1, "interrupted"),
        (StudyState.SEARCHING, "elsewhere:1:x", 9, "searching"),
        (StudyState.SEARCHING, "elsewhere:1:x", -1, "interrupted"),
        (StudyState.SEARCHING, f"{_here()}:{2**22 + 1}:x", 9, "interrupted"),  # no process has this id
        (StudyState.SEARCHING, f"{socket.gethostname()}/1:{2**22 + 1}:x", 9, "searching"),  # not of our process ids
        (StudyState.FINISHED, None, None, "finished"),
    ],
)
def test_nobody_works_on_a_study_whose_process_is_gone(
    state: StudyState, holder: str | None, left_s: float | None, expected: str
) -> None:
    until = None if left_s is None else datetime.now(UTC) + timedelta(seconds=left_s)
    assert state_of(replace(finished(), state=state, holder=holder, claimed_until=until)) == expected
