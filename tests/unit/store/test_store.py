"""What the store promises: names are unique, outcomes are entered once, claims exclude each other."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.unit.store.entries import (
    EXPECTED,
    LATER,
    MEASUREMENT,
    NOW,
    OOM,
    VERDICT,
    make_level,
    make_study,
    make_trial,
    trial_of,
)
from tuner.core.cause import Cause, Failure
from tuner.core.errors import InvalidInput
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.core.summary import Summary
from tuner.core.workload import Load
from tuner.store import (
    Conflict,
    Phase,
    Store,
    StoreError,
    StudyState,
    TrialKind,
    TrialRecord,
    Unknown,
)


def test_a_study_comes_back_as_it_was_entered(store: Store) -> None:
    study = make_study(store)
    assert store.study_by_id(study.id) == study
    assert study.state is StudyState.CREATED
    assert (study.fingerprint, study.spec["seed"], study.info) == ("f", 1, {"gpu": "H100"})
    assert (study.created, study.holder, study.result) == (NOW, None, None)


def test_a_name_that_is_taken_is_refused(store: Store) -> None:
    make_study(store)
    with pytest.raises(InvalidInput, match="'a' exists already"):
        make_study(store)
    assert len(store.studies()) == 1


def test_times_come_back_in_utc_and_a_time_without_a_zone_is_refused(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    study = store.create_study(name="a", spec={}, target="t", info={}, now=there)
    assert study.created == NOW
    assert study.created.tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        store.set_state(study.id, StudyState.SEARCHING, "", datetime(2026, 1, 1))


def test_state_and_result_are_kept(store: Store) -> None:
    study = make_study(store)
    store.set_state(study.id, StudyState.FINISHED, "better by 12 %", LATER)
    store.set_result(study.id, {"gain": 0.12})
    kept = store.study_by_id(study.id)
    assert kept is not None
    assert (kept.state, kept.detail, kept.result, kept.updated) == (
        StudyState.FINISHED, "better by 12 %", {"gain": 0.12}, LATER,
    )  # fmt: skip


def test_a_finished_study_has_its_result(store: Store) -> None:
    study = make_study(store)
    store.set_result(study.id, {"so far": 1})
    ended = store.finish(study.id, {"gain": 0.12}, "better by 12 %", LATER)
    assert ended == store.study_by_id(study.id)
    assert (ended.state, ended.detail, ended.result, ended.updated) == (
        StudyState.FINISHED, "better by 12 %", {"gain": 0.12}, LATER,
    )  # fmt: skip


@pytest.mark.parametrize("state", list(StudyState))
def test_the_latest_unfinished_study_of_target_and_fingerprint_goes_on(store: Store, state: StudyState) -> None:
    first = make_study(store, "first")
    make_study(store, "other-target", target="u")
    make_study(store, "other-spec", fingerprint="g")
    latest = make_study(store, "latest")
    store.set_state(latest.id, state, "", LATER)
    found = store.resumable("t", "f")
    assert found is not None
    assert found.id == (first.id if state is StudyState.FINISHED else latest.id)
    assert store.resumable("t", "h") is None


def test_one_holder_at_a_time_until_its_claim_expires(store: Store) -> None:
    study = make_study(store)
    assert store.claims.take(study.id, "one", NOW, 60)
    assert store.claims.take(study.id, "one", NOW, 60)
    assert not store.claims.take(study.id, "two", NOW + timedelta(seconds=59), 60)
    assert store.claims.renew(study.id, "one", NOW + timedelta(seconds=59), 60)
    assert not store.claims.take(study.id, "two", NOW + timedelta(seconds=60), 60)
    assert store.claims.take(study.id, "two", NOW + timedelta(seconds=119), 60)
    assert not store.claims.renew(study.id, "one", NOW + timedelta(seconds=120), 60)


def test_where_a_study_stands_is_entered_by_its_holder_alone(store: Store) -> None:
    study = make_study(store)
    assert store.claims.take(study.id, "one", NOW, 60)
    store.set_state(study.id, StudyState.SEARCHING, "", NOW, by="one")
    with pytest.raises(Conflict, match="'a' is worked on by somebody else"):
        store.set_state(study.id, StudyState.STOPPED, "", LATER, by="two")
    with pytest.raises(Conflict):
        store.finish(study.id, {}, "", LATER, by="two")
    with pytest.raises(Conflict):
        store.set_spec(study.id, {}, LATER, by="two")
    kept = store.study_by_id(study.id)
    assert (kept.state, kept.result, kept.updated) == (StudyState.SEARCHING, None, NOW)


def test_a_study_that_came_to_nothing_can_be_removed_and_one_with_trials_can_not(store: Store) -> None:
    empty, kept = make_study(store, "empty"), make_study(store, "kept")
    make_trial(store, kept)
    store.discard(empty.id)
    with pytest.raises(StoreError):
        store.discard(kept.id)
    assert [study.name for study in store.studies()] == ["kept"]


def test_only_the_holder_can_release(store: Store) -> None:
    study = make_study(store)
    store.claims.take(study.id, "one", NOW, 60)
    store.claims.release(study.id, "two")
    assert not store.claims.take(study.id, "two", NOW, 60)
    store.claims.release(study.id, "one")
    assert store.claims.take(study.id, "two", NOW, 60)


def test_trials_are_numbered_within_their_study(store: Store) -> None:
    a, b = make_study(store, "a"), make_study(store, "b")
    assert [make_trial(store, study).number for study in (a, b, a, a)] == [0, 0, 1, 2]
    assert [trial.number for trial in store.trials(a.id)] == [0, 1, 2]


def test_a_trial_goes_through_its_phases_and_keeps_when_each_began(store: Store) -> None:
    trial = make_trial(store, make_study(store), TrialKind.BASELINE)
    assert trial.phase is Phase.SUGGESTED
    order = [Phase.SCREENING, Phase.STARTING, Phase.WARMING_UP, Phase.PROBING, Phase.JUDGING]
    for minute, phase in enumerate(order, 1):
        store.enter_phase(trial.id, phase, NOW + timedelta(minutes=minute))
    store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, now=NOW + timedelta(minutes=6))
    store.mark_told(trial.id, NOW + timedelta(minutes=7))
    kept = trial_of(store, trial)
    assert [one.phase for one in kept.phases] == list(Phase)
    assert [one.began for one in kept.phases] == [NOW + timedelta(minutes=minute) for minute in range(8)]
    assert (kept.phase, kept.told, kept.kind) == (Phase.TOLD, True, TrialKind.BASELINE)


def test_an_outcome_comes_back_as_it_was_entered(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    facts = EngineFacts("vllm", "0.11.0", settings={"max_num_seqs": 64, "enable_prefix_caching": True})
    recorded = store.record(
        trial.id,
        verdict=VERDICT,
        measurement=MEASUREMENT,
        facts=facts,
        start_s=61.5,
        probe_s=30.0,
        gpu_s=91.5,
        now=LATER,
    )
    assert recorded == trial_of(store, trial) == store.trials(trial.study_id)[0]
    assert (recorded.verdict, recorded.measurement, recorded.facts) == (VERDICT, MEASUREMENT, facts)
    assert (recorded.start_s, recorded.probe_s, recorded.gpu_s) == (61.5, 30.0, 91.5)
    assert (recorded.recorded, recorded.told, recorded.phase) == (LATER, False, Phase.RECORDED)


def test_an_outcome_is_entered_once(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    first = store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, start_s=1.0, now=NOW)
    assert store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, start_s=1.0, now=LATER) == first
    with pytest.raises(Conflict, match="another outcome"):
        store.record(trial.id, verdict=Verdict(513.0, {}), measurement=MEASUREMENT, start_s=1.0, now=LATER)
    assert trial_of(store, trial) == first


def test_after_its_outcome_a_trial_takes_no_phase_and_no_level(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    with pytest.raises(Conflict, match="no outcome yet"):
        store.mark_told(trial.id, NOW)
    store.record(trial.id, verdict=VERDICT, now=NOW)
    with pytest.raises(Conflict, match="probing"):
        store.enter_phase(trial.id, Phase.PROBING, LATER)
    with pytest.raises(Conflict, match="level"):
        store.add_level(trial.id, make_level(), LATER)


def test_told_twice_is_told_once(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    store.record(trial.id, verdict=VERDICT, now=NOW)
    store.mark_told(trial.id, NOW)
    store.mark_told(trial.id, LATER)
    assert [one.phase for one in trial_of(store, trial).phases].count(Phase.TOLD) == 1


def test_a_failed_trial_keeps_its_cause_with_and_without_a_verdict(store: Store) -> None:
    study = make_study(store)
    taught = store.record(make_trial(store, study).id, verdict=Verdict(None, {"failure": 1.2}, OOM), now=NOW)
    assert taught.failure == OOM
    unscheduled = Failure(Cause.UNSCHEDULABLE, "0/1 nodes")
    infrastructure = store.record(make_trial(store, study).id, verdict=None, failure=unscheduled, now=NOW)
    assert (infrastructure.verdict, infrastructure.failure) == (None, unscheduled)
    screened = store.record(make_trial(store, study).id, verdict=None, failure=OOM, screened=True, now=NOW)
    assert screened.screened


def test_levels_are_kept_as_they_end_also_without_an_outcome(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    store.add_level(trial.id, make_level(), NOW)
    store.add_level(trial.id, make_level(), LATER)
    kept = trial_of(store, trial)
    assert kept.levels == (make_level(), make_level())
    assert kept.measurement is None


def test_a_number_that_is_not_finite_is_refused_and_leaves_no_trace(store: Store) -> None:
    study = make_study(store)
    trial = make_trial(store, study)
    with pytest.raises(ValueError, match="finite"):
        store.record(trial.id, verdict=Verdict(math.inf, {}), now=NOW)
    with pytest.raises(ValueError, match="finite"):
        store.set_result(study.id, {"gain": math.nan})
    with pytest.raises(ValueError, match="finite"):
        store.record(trial.id, verdict=VERDICT, gpu_s=math.nan, now=NOW)
    assert trial_of(store, trial) == trial


def test_text_that_no_database_can_hold_is_kept_as_far_as_it_can_be(store: Store) -> None:
    study = make_study(store)
    store.set_state(study.id, StudyState.STOPPED, "log\0 with \udcff and ☃", NOW)
    kept = store.study_by_id(study.id)
    assert kept is not None
    assert kept.detail == "log� with � and ☃"
    trial = make_trial(store, study)
    evidence = Failure(Cause.UNKNOWN, "nul\0", "lone \udcff")
    assert store.record(trial.id, verdict=None, failure=evidence, now=NOW).failure == evidence


def test_unknown_ids_are_told(store: Store) -> None:
    with pytest.raises(Unknown, match="study has id 7"):
        store.set_state(7, StudyState.STOPPED, "", NOW)
    with pytest.raises(Unknown, match="study has id 7"):
        store.claims.take(7, "one", NOW, 60)
    with pytest.raises(Unknown, match="study has id 7"):
        store.add_trial(7, kind=TrialKind.SEARCH, candidate=Candidate(), reason="", ticket=None, now=NOW)
    with pytest.raises(Unknown, match="trial has id 7"):
        store.enter_phase(7, Phase.PROBING, NOW)
    assert store.trials(7) == []


def test_calibrations_are_replaced_by_key(store: Store) -> None:
    assert store.calibrations.find("image|H100|llama", Load) is None
    store.calibrations.keep("image|H100|llama", Load(rate=1.5))
    store.calibrations.keep("image|H100|llama", Load(rate=1.75))
    store.calibrations.keep("other", Load(rate=2.0))
    assert store.calibrations.find("image|H100|llama", Load) == Load(rate=1.75)


def start(store: Store, trial: TrialRecord, levels: int) -> None:
    """Start a trial and run some levels on it."""
    store.enter_phase(trial.id, Phase.STARTING, NOW)
    store.enter_phase(trial.id, Phase.PROBING, NOW)
    for _ in range(levels):
        store.add_level(trial.id, make_level(), NOW)


def both(store: Store, trial: TrialRecord) -> tuple[TrialRecord, TrialRecord]:
    """A trial in full and in short."""
    [short] = [one for one in store.trials(trial.study_id, short=True) if one.id == trial.id]
    return trial_of(store, trial), short


def test_a_trial_in_short_has_all_but_its_measurement_and_the_levels_in_it(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    start(store, trial, levels=1)
    store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, expected=EXPECTED, now=LATER)
    whole, short = both(store, trial)
    assert whole.summary == Summary.of(MEASUREMENT)
    assert whole.levels == (make_level(),)
    assert short == replace(whole, measurement=None, levels=())


def test_levels_that_are_in_no_measurement_are_there_in_short_too(store: Store) -> None:
    study = make_study(store)
    killed, running, died = (make_trial(store, study) for _ in range(3))
    start(store, killed, levels=2)
    start(store, killed, levels=1)
    store.record(killed.id, verdict=VERDICT, measurement=MEASUREMENT, now=LATER)
    start(store, running, levels=1)
    start(store, died, levels=1)
    store.record(died.id, verdict=Verdict(None, {"failure": 1.2}, OOM), now=LATER)
    assert [len(both(store, trial)[1].levels) for trial in (killed, running, died)] == [3, 1, 1]
    for trial in (killed, running, died):
        whole, short = both(store, trial)
        assert short == replace(whole, measurement=None)


def test_one_trial_is_found_by_its_number(store: Store) -> None:
    study, other = make_study(store), make_study(store, "b")
    make_trial(store, other)
    trials = [make_trial(store, study) for _ in range(2)]
    assert store.trial(study.id, 1) == trials[1]
    with pytest.raises(Unknown, match="has no trial 2"):
        store.trial(study.id, 2)


def test_what_was_expected_is_kept_and_is_no_part_of_the_outcome(store: Store) -> None:
    trial = make_trial(store, make_study(store))
    assert trial.expected is None
    first = store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, expected=EXPECTED, now=NOW)
    assert first.expected == EXPECTED
    assert trial_of(store, trial).expected == EXPECTED
    other = replace(EXPECTED, value=9.0)
    assert store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, expected=other, now=LATER) == first
    assert store.record(trial.id, verdict=VERDICT, measurement=MEASUREMENT, now=LATER) == first


def test_what_is_stored_of_a_failure_holds_no_secrets(store: Store) -> None:
    study = make_study(store)
    leaky = Failure(Cause.IMAGE_OR_CONFIG, "GET https://me:pa55@hub/v2 failed", "HF_TOKEN=hf_AbCdEfGhIjKlMnOp\nmore")
    trials = [make_trial(store, study) for _ in range(2)]
    for _ in range(2):  # the same outcome again
        store.record(trials[0].id, verdict=Verdict(None, {"failure": 1.2}, leaky), now=NOW)
        store.record(trials[1].id, verdict=None, failure=leaky, now=NOW)
    store.set_state(study.id, StudyState.STOPPED, f"stopped: {leaky}", NOW)
    taught, infrastructure = store.trials(study.id)
    assert taught.failure == infrastructure.failure == leaky.redacted()
    assert taught.verdict is not None
    assert taught.verdict.failure == leaky.redacted()
    assert leaky.redacted() != leaky
    assert store.study_by_id(study.id).detail == f"stopped: {leaky.redacted()}"
