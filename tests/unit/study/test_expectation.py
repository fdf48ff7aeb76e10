from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.core.cause import Cause, Failure
from tuner.core.knob import Candidate
from tuner.core.workload import Objective, ObjectiveKind
from tuner.search import Prediction
from tuner.study.expectation import expected

_ONE = Prediction(Candidate.of(max_num_seqs=64), 1000.0, 4.0)
_CAPACITY = Objective()


def test_a_value_is_told_with_its_rate_and_its_gain_over_what_was_found() -> None:
    assert expected(_ONE, _CAPACITY, None) == "1,000 output-tokens/s at 4 req/s"
    assert expected(_ONE, _CAPACITY, 800.0) == "1,000 output-tokens/s at 4 req/s, +25.0% against what was found"


@pytest.mark.parametrize("kind", list(ObjectiveKind))
def test_without_a_value_it_is_told_what_can_not_be_kept(kind: ObjectiveKind) -> None:
    objective = Objective(kind, rate=2.0, concurrency=8 if kind is ObjectiveKind.THROUGHPUT else None)
    assert expected(replace(_ONE, value=None, rate=None), objective, 800.0).startswith("does not meet the SLOs")


def test_a_refusal_comes_first() -> None:
    refusal = Failure(Cause.GPU_OOM_AT_START, "no memory")
    assert expected(replace(_ONE, refusal=refusal), _CAPACITY, None) == f"does not start: {refusal}"
