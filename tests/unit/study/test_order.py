"""Judge and sampler never disagree on which of two trials is better, and the best so far is what both say it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from optuna.samplers._tpe.sampler import _split_trials

from tests.unit.search.targets import small_space
from tuner.core.cause import Cause, Failure
from tuner.core.measurement import Answer, Level, Measurement, SloTest, Verdict
from tuner.core.slo import Slo, parse_slo
from tuner.core.workload import Load, ObjectiveKind
from tuner.search import OptunaSampler
from tuner.search.tpe import best_of
from tuner.store import Phase, TrialKind, TrialRecord
from tuner.study.judge import better, judge, judge_failure
from tuner.study.standing import baseline, incumbent, value_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLOS = ("ttft p95 <= 500ms", "itl p99 <= 60ms", "e2e mean <= 8s", "tpot p50 <= 40ms", "error rate <= 0.1%")
CAUSES = [cause for cause in Cause if not cause.infrastructure]
_numbers = itertools.count()


@dataclass(frozen=True)
class Told:
    """What one study's trials came to, by the judge."""

    objective: ObjectiveKind
    slos: tuple[Slo, ...]
    verdicts: tuple[Verdict, ...]


@st.composite
def slo_tests(draw: st.DrawFn, answer: Answer, slos: Sequence[Slo]) -> tuple[SloTest, ...]:
    """Tests of one level. What does not pass may lack evidence, and may look well by its point estimates."""
    passing = st.floats(-1, 0)
    either = st.floats(-1, 50)
    seen = slos if answer is Answer.PASS else draw(st.lists(st.sampled_from(slos), unique=True)) if slos else ()
    return tuple(SloTest(str(slo), answer, None, draw(passing if answer is Answer.PASS else either)) for slo in seen)


@st.composite
def measurements(draw: st.DrawFn, objective: ObjectiveKind, slos: Sequence[Slo]) -> Measurement:
    """As the probe hands it over: where the deciding level passed there is a value, else how far it was off."""
    answer = draw(st.sampled_from(Answer))
    tests = draw(slo_tests(answer, slos))
    rate = draw(st.floats(0.01, 1e4))
    load = Load(concurrency=8) if objective is ObjectiveKind.THROUGHPUT else Load(rate=rate)
    level = Level(load, answer, tests, 10.0, 100, {}, rate, rate * 128, rate * 640, {})
    value = level.output_token_rate if answer is Answer.PASS else None
    if value is not None and objective is ObjectiveKind.HEADROOM:
        value = -max(test.violation for test in tests)
    higher = draw(st.none() | st.just(2 * rate)) if value is None else None
    return Measurement((level,), value, 0, value_high=higher)


failures = st.builds(
    lambda cause, overshoot: Failure(cause, "it failed", overshoot=overshoot),
    st.sampled_from(CAUSES),
    st.none() | st.floats(-2, 1e9),
)


@st.composite
def told(draw: st.DrawFn) -> Told:
    objective = draw(st.sampled_from(ObjectiveKind))
    least = 1 if objective is ObjectiveKind.HEADROOM else 0
    slos = tuple(map(parse_slo, draw(st.lists(st.sampled_from(SLOS), min_size=least, unique=True))))
    measured = measurements(objective, slos).map(lambda one: judge(one, slos))
    failed = failures.map(lambda one: judge_failure(one, slos))
    return Told(objective, slos, tuple(draw(st.lists(measured | failed, min_size=2, max_size=8))))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told())
def test_tpe_prefers_what_the_judge_prefers(tmp_path: Path, told: Told) -> None:
    """However many trials TPE takes for the good ones, each is ranked at least as high as each that it leaves."""
    event(f"{told.objective}, {len(told.slos)} SLOs, {sum(v.failure is not None for v in told.verdicts)} failed")
    url, name, space = f"sqlite:///{tmp_path}/order.db", f"study {next(_numbers)}", small_space()
    sampler = OptunaSampler(space, url, name, 1, slos=[str(slo) for slo in told.slos])
    verdicts = {sampler.adopt(one): verdict for one, verdict in zip(space.candidates(), told.verdicts, strict=False)}
    for ticket, verdict in verdicts.items():
        sampler.tell(ticket, verdict)
    sampler.close()

    study = optuna.load_study(study_name=name, storage=url)
    trials = study.get_trials(deepcopy=False)
    for below in range(1, len(trials)):
        good, rest = _split_trials(study, trials, below)
        assert len(good) == below
        for one, other in itertools.product(good, rest):
            assert not better(verdicts[other.number], verdicts[one.number])

    chosen = verdicts[best_of(trials).number]
    assert not any(better(verdict, chosen) for verdict in told.verdicts)
    if chosen.feasible:
        assert verdicts[study.best_trial.number].rank == chosen.rank
    study._storage.remove_session()


@settings(deadline=None)
@given(told(), st.integers(0, 7))
def test_the_best_so_far_is_the_judges_and_no_worse_than_the_baseline(told: Told, first: int) -> None:
    kinds = [TrialKind.BASELINE if n == first % len(told.verdicts) else TrialKind.SEARCH for n in range(8)]
    candidates = small_space().candidates()
    trials = [
        TrialRecord(n, 1, n, kind, next(candidates), "", None, Phase.TOLD, NOW, recorded=NOW, verdict=verdict)
        for n, (kind, verdict) in enumerate(zip(kinds, told.verdicts, strict=False))
    ]
    best = incumbent(trials)

    if best is None:
        assert not any(verdict.feasible for verdict in told.verdicts)
        return
    assert best.verdict is not None
    assert best.verdict.feasible
    assert not any(better(verdict, best.verdict) for verdict in told.verdicts)
    before = value_of(baseline(trials))
    assert before is None or value_of(best) >= before
