"""The judge alone knows signs: what it ranks higher must be better, for every objective and failure."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.core.cause import Cause, Failure
from tuner.core.measurement import Answer, Level, Measurement, SloTest
from tuner.core.slo import Slo, parse_slo
from tuner.core.workload import Load
from tuner.study.judge import better, judge, judge_failure

SLOS = (parse_slo("ttft p95 <= 500ms"), parse_slo("itl p99 <= 50ms"), parse_slo("error rate <= 0.1%"))

violation = st.floats(-1, 50)
answers = st.sampled_from(Answer)


def level(answer: Answer, violations: dict[Slo, float], rate: float = 4.0) -> Level:
    tests = tuple(SloTest(str(slo), answer, None, value) for slo, value in violations.items())
    return Level(Load(rate=rate), answer, tests, 10.0, 100, {}, rate, rate * 128, rate * 640, {})


def measured(value: float | None, one: Level) -> Measurement:
    return Measurement((one,), value, 0)


verdicts = st.one_of(
    st.builds(
        lambda value, vs: judge(measured(value, level(Answer.PASS, dict(zip(SLOS, vs, strict=True)))), SLOS),
        st.floats(0.001, 1e6),
        st.tuples(*[st.floats(-1, 0)] * len(SLOS)),
    ),
    st.builds(
        lambda answer, vs: judge(measured(None, level(answer, dict(zip(SLOS, vs, strict=True)))), SLOS),
        answers,
        st.tuples(*[violation] * len(SLOS)),
    ),
    st.builds(
        lambda cause, over: judge_failure(Failure(cause, "it failed", overshoot=over), SLOS),
        st.sampled_from([cause for cause in Cause if not cause.infrastructure]),
        st.none() | st.floats(-2, 1e9),
    ),
)


@given(verdicts)
def test_a_verdict_is_finite_and_has_exactly_one_shape(verdict):
    assert all(math.isfinite(v) for v in verdict.violations.values())
    if verdict.feasible:
        assert verdict.value is not None
        assert verdict.total_violation == 0
    else:
        assert verdict.total_violation > 0
        assert verdict.value is None


@given(verdicts, verdicts)
def test_feasible_beats_infeasible_beats_failed(a, b):
    def order(verdict):
        return 2 if verdict.feasible else 0 if verdict.failure else 1

    if order(a) > order(b):
        assert better(a, b)
        assert not better(b, a)


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_a_higher_value_is_better(x, y):
    passing = level(Answer.PASS, dict.fromkeys(SLOS, -0.5))
    assert better(judge(measured(x, passing), SLOS), judge(measured(y, passing), SLOS)) == (x > y)


@given(st.floats(0, 10), st.floats(0, 10))
def test_less_overshoot_is_better_among_failures(x, y):
    a, b = (judge_failure(Failure(Cause.KV_CACHE_TOO_SMALL, "", overshoot=o), SLOS) for o in (x, y))
    assert better(a, b) == (a.total_violation < b.total_violation)
    assert (x < y) <= (not better(b, a))


def test_a_level_that_did_not_pass_is_violated_even_where_the_point_estimate_is_within_bounds():
    verdict = judge(measured(None, level(Answer.UNCERTAIN, dict.fromkeys(SLOS, -0.2))), SLOS)
    assert not verdict.feasible
    assert verdict.total_violation > 0
    assert not verdict.certain


def test_what_is_not_proven_is_blamed_not_what_is_nearest_to_its_bound():
    tests = (SloTest(str(SLOS[0]), Answer.UNCERTAIN, None, -0.8), SloTest(str(SLOS[1]), Answer.PASS, None, -0.1))
    unproven = replace(level(Answer.UNCERTAIN, {}), tests=tests)

    verdict = judge(measured(None, unproven), SLOS[:2])

    assert verdict.violations[str(SLOS[0])] > 0
    assert verdict.violations[str(SLOS[1])] == -0.1


@pytest.mark.parametrize(("answer", "overload"), [(Answer.FAIL, 0.2), (Answer.UNCERTAIN, 0.0)])
def test_a_level_that_did_not_keep_up_breaks_no_slo(answer, overload):
    behind = replace(level(answer, dict.fromkeys(SLOS, -0.5)), steady=False, overload=overload)

    verdict = judge(measured(None, behind), SLOS)

    assert all(verdict.violations[str(slo)] == -0.5 for slo in SLOS)
    assert verdict.total_violation == max(overload, 1e-3)


def test_missing_evidence_counts_as_violated():
    verdict = judge(measured(None, level(Answer.FAIL, {SLOS[0]: -0.5})), SLOS)
    assert verdict.violations[str(SLOS[1])] == 1.0


@pytest.mark.parametrize("overshoot", [None, 0.0, 0.3, 1e12])
def test_a_failure_ranks_below_every_measured_configuration(overshoot):
    worst = judge(measured(None, level(Answer.FAIL, dict.fromkeys(SLOS, 1e9))), SLOS)
    assert better(worst, judge_failure(Failure(Cause.BAD_FLAG, "", overshoot=overshoot), SLOS))
