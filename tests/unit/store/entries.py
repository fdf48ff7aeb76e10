"""What tests put into a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tuner.core.cause import Cause, Failure
from tuner.core.expected import Expected
from tuner.core.knob import Candidate
from tuner.core.measurement import Answer, Level, Measurement, SloTest, Statistic, Verdict
from tuner.core.workload import Load
from tuner.store import (
    Store,
    StudyRecord,
    TrialKind,
    TrialRecord,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def make_study(store: Store, name: str = "a", target: str = "t", fingerprint: str = "f") -> StudyRecord:
    return store.create_study(
        name=name, spec={"fingerprint": fingerprint, "seed": 1}, target=target, info={"gpu": "H100"}, now=NOW
    )


def make_trial(store: Store, study: StudyRecord, kind: TrialKind = TrialKind.SEARCH) -> TrialRecord:
    return store.add_trial(
        study.id, kind=kind, candidate=Candidate.of(max_num_seqs=64), reason="TPE", ticket=3, now=NOW
    )


def make_level() -> Level:
    statistic = Statistic(100, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4)
    test = SloTest("ttft p95 <= 500ms", Answer.PASS, 0.2, -0.6, 0, 100, 0.0, 0.03)
    return Level(
        Load(rate=4.0), Answer.PASS, (test,), 30.0, 100, {"timeout": 1}, 4.0, 512.0, 2048.0, {"ttft": statistic}
    )


def trial_of(store: Store, trial: TrialRecord) -> TrialRecord:
    """The trial as it is stored now."""
    return next(one for one in store.trials(trial.study_id) if one.id == trial.id)


MEASUREMENT = Measurement((make_level(),), 512.0, 0)
VERDICT = Verdict(512.0, {"ttft p95 <= 500ms": -0.6})
EXPECTED = Expected(600.0, 4.7, 65_536, {"ttft p95 <= 500ms": 0.1}, certain=False, refusal="ValueError: no")
OOM = Failure(Cause.GPU_OOM_AT_START, "out of memory", "CUDA out of memory", overshoot=0.2)
