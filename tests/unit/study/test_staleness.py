"""Whether a result still holds, judged from what is seen today."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.search.targets import A100, H100, target
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.store import StudyRecord, StudyState
from tuner.study.found import described
from tuner.study.staleness import Today, stale
from tuner.study.traffic import Traffic

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BASELINE, WINNER = Candidate.of(max_num_seqs=64), Candidate.of(max_num_seqs=128, speculative_method="off")
FOUND = replace(target(baseline=BASELINE, version="0.32.0+cu129"), uid="1", image="vllm:v0.32.0")
SENT = Traffic(512.0, 128.0)


def study(info: TargetInfo = FOUND, *, exportable: bool = True, age: timedelta = timedelta(days=1)) -> StudyRecord:
    result = {"exportable": exportable, "finalist": dict(WINNER)}
    ended = NOW - age
    return StudyRecord(
        1, "s", "prod/llama", "f", {}, described(info), StudyState.FINISHED, "", result, None, None, ended, ended
    )


def told(today: TargetInfo, measured: StudyRecord | None = None) -> list[str]:
    return stale(measured or study(), Today(today), NOW)


def test_nothing_speaks_against_a_result_on_the_same_deployment() -> None:
    assert told(FOUND) == []
    assert told(replace(FOUND, version="0.32.0")) == []  # what a build adds says nothing of the engine


def test_a_deployment_that_runs_the_winner_is_as_the_study_would_have_it() -> None:
    assert told(replace(FOUND, baseline=WINNER)) == []
    # A method that is off has no flag, so that nobody reads it from the command line.
    assert told(replace(FOUND, baseline=Candidate.of(max_num_seqs=128))) == []
    assert told(replace(FOUND, baseline=WINNER), study(exportable=False)) != []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uid": "2"}, ["made anew under its name"]),
        ({"image": "vllm:v0.33.0"}, ["vllm:v0.33.0 now", "vllm:v0.32.0 was measured"]),
        ({"version": "0.33.0"}, ["version 0.33.0 now", "0.32.0+cu129 was measured"]),
        ({"gpu": A100}, [f"{A100.name} now", f"{H100.name} was measured"]),
        ({"gpu_count": 2}, ["2 GPUs now", "1 were measured"]),
        ({"model": "mistral"}, ["mistral now", "llama was measured"]),
        ({"baseline": Candidate.of(max_num_seqs=256)}, ["max_num_seqs 256 (was 64)"]),
        ({"baseline": Candidate()}, ["max_num_seqs engine default (was 64)"]),
        ({"baseline": BASELINE.with_(enable_prefix_caching=False)}, ["enable_prefix_caching false (was engine defau"]),
    ],
)
def test_each_change_is_told_in_one_sentence_with_both_sides(change: dict[str, Any], words: list[str]) -> None:
    (sentence,) = told(replace(FOUND, **change))
    assert all(word in sentence for word in words), sentence


def test_several_changes_are_several_sentences() -> None:
    assert len(told(replace(FOUND, image="vllm:v0.33.0", version="0.33.0", gpu=A100))) == 3


def test_what_is_not_known_today_or_was_not_then_is_no_change() -> None:
    assert told(replace(FOUND, version=None, gpu=None, gpu_count=0, model="")) == []
    assert told(FOUND, study(replace(FOUND, version=None, gpu=None, gpu_count=0, model="", uid="", image=""))) == []


def test_a_winner_on_other_gpus_may_have_another_number_of_them() -> None:
    assert told(replace(FOUND, baseline=WINNER, gpu_count=2)) == []


def test_requests_of_another_length_are_told_with_both_numbers() -> None:
    (prompts,) = stale(study(), Today(FOUND, SENT, Traffic(800.0, 128.0, 1204)), NOW)
    assert "prompts have 800 tokens" in prompts
    assert "1,204 requests" in prompts
    assert "512 were measured" in prompts
    (answers,) = stale(study(), Today(FOUND, SENT, Traffic(512.0, 60.0, 1204)), NOW)
    assert "answers have 60 tokens" in answers
    assert len(stale(study(), Today(FOUND, SENT, Traffic(5000.0, 10.0, 1204)), NOW)) == 2


@pytest.mark.parametrize("seen", [Traffic(767.0, 192.0, 1204), Traffic(257.0, 65.0, 1204), Traffic(5000.0, 1.0, 299)])
def test_a_smaller_difference_or_a_few_requests_are_none(seen: Traffic) -> None:
    assert stale(study(), Today(FOUND, SENT, seen), NOW) == []


def test_an_age_is_told_from_three_months_on() -> None:
    assert stale(study(age=timedelta(days=90)), Today(FOUND), NOW) == []
    (sentence,) = stale(study(age=timedelta(days=91)), Today(FOUND), NOW)
    assert sentence == "it was measured 91 days ago, on 2026-08-23"


def test_what_could_not_be_told_is_said() -> None:
    assert stale(study(), Today(notes=("gone",)), NOW) == ["gone"]
