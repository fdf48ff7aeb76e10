"""Options lie over the file and the file over defaults; options are refused by their own spelling."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.unit.study.spec.conftest import SIMULATED, Load, Refuse
from tests.unit.study.spec.paths import field_paths
from tuner.cli.start import start
from tuner.core.workload import Count, Objective, ObjectiveKind
from tuner.study.spec import StudySpec
from tuner.study.spec.document import dotted
from tuner.study.spec.options import OPTIONS


def test_options_lie_over_the_file_and_the_file_over_defaults(load: Load) -> None:
    text = SIMULATED + "budget: {starts: 12, pairs: 3}\nslos: [ttft p95 <= 1s, itl p99 <= 1s]\n"
    spec = load(text, starts=14, slo=["e2e p95 <= 8s"])
    assert (spec.budget.starts, spec.budget.pairs, spec.budget.smallest_gain) == (14, 3, 0.05)
    assert spec.slos == ["e2e p95 <= 8s"]


def test_options_that_were_not_given_change_nothing(load: Load) -> None:
    text = SIMULATED + "budget: {starts: 12, pairs: 3}\n"
    assert load(text, starts=None, slo=[], knob=()) == load(text)


def test_options_may_come_as_text(load: Load) -> None:
    spec = load(SIMULATED, starts="12", gpu_minutes="1.5e2", smallest_gain="3%", seed="5", prompt_tokens="64", pairs=2)
    assert (spec.budget.starts, spec.budget.gpu_minutes, spec.budget.smallest_gain) == (12, 150.0, 0.03)
    assert (spec.seed, spec.workload.prompt.mean) == (5, 64)


def test_text_options_stay_text(load: Load) -> None:
    kubernetes = load(None, namespace="1234", deployment="1e3").target.kubernetes
    assert kubernetes is not None
    assert (kubernetes.namespace, kubernetes.deployment) == ("1234", "1e3")


def test_an_option_for_another_kind_of_target_replaces_the_files(load: Load) -> None:
    spec = load(SIMULATED, namespace="inference")
    assert spec.target.simulated is None
    spec = load("target: {kubernetes: {namespace: a, deployment: b}}\n", simulated="l4/qwen3-8b")
    assert spec.target.kubernetes is None
    spec = load("target: {kubernetes: {namespace: a, deployment: b}}\n", namespace="c")
    assert spec.target.kubernetes is not None
    assert (spec.target.kubernetes.namespace, spec.target.kubernetes.deployment) == ("c", "b")


def test_another_objective_leaves_the_files_load_behind(load: Load) -> None:
    text = SIMULATED + "objective: {kind: headroom, rate: 5, count: requests/s}\n"
    spec = load(text, objective="throughput", concurrency=8)
    assert spec.core_objective() == Objective(ObjectiveKind.THROUGHPUT, Count.REQUESTS, None, 8)
    assert load(text, rate=6).core_objective().rate == 6
    assert load(text, objective="headroom").core_objective().rate == 5


def test_knobs_are_edited_one_by_one_by_option(load: Load) -> None:
    text = SIMULATED + "search: {knobs: {max_num_seqs: 64, block_size: drop}}\n"
    spec = load(text, knob=["max-num-seqs=16..256", "gpu_memory_utilization=0.9", "max_num_batched_tokens=512,1024"])
    assert spec.search.knobs == {
        "max_num_seqs": {"low": 16, "high": 256},
        "block_size": "drop",
        "gpu_memory_utilization": 0.9,
        "max_num_batched_tokens": [512, 1024],
    }


def test_every_option_leads_to_a_field() -> None:
    known = set(field_paths(StudySpec))
    assert {dotted(path) for path in OPTIONS.values()} <= known


def test_the_command_line_has_every_option() -> None:
    assert {name.replace("_", "-") for name in inspect.signature(start).parameters} >= set(OPTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "target: missing; allowed: kubernetes: {...} or simulated: GPU/MODEL"),
        ({"simulated": "h100"}, "--simulated: target.simulated: 'h100' is not GPU/MODEL; allowed: GPU/MODEL, e.g."),
        ({"simulated": "h100/gpt-9"}, "--simulated: target.simulated.model: 'gpt-9' is not in the catalogue"),
        ({"simulated": "0xh100/llama-3.1-8b"}, "--simulated: target.simulated.count: 0 is too small"),
        ({"simulated": "h100/llama-3.1-8b", "namespace": "a"}, "--simulated: is given together with --namespace"),
        ({"namespace": "Prod"}, "--namespace: target.kubernetes.namespace: 'Prod' can't be used; allowed: a namespace"),
        ({"namespace": "a", "endpoint": "10.0.0.5:80"}, "--endpoint: target.kubernetes.endpoint: '10.0.0.5:80' can't"),
        ({"namespace": "a", "endpoint": "http://u:s3cret@h"}, "names a user or password"),
        ({"namespace": "a", "gpu": "A100"}, "--gpu: 'A100' comes with 40 and with 80 GB"),
        ({"namespace": "a", "rate": "nan"}, "--rate: objective.rate: 'nan' is not a number"),
        ({"namespace": "a", "rate": ".nan"}, "--rate: is not a finite number"),
        ({"namespace": "a", "objective": "headroom", "rate": "1e999"}, "--rate: is not a finite number"),
        ({"namespace": "a", "rate": float("nan")}, "--rate: objective.rate: nan is not a finite number"),
        ({"namespace": "a", "starts": 3}, "--starts: budget.starts: 3 is too few; allowed: at least 14"),
        ({"namespace": "a", "starts": 13}, "to confirm it in 6 pairs); or fewer pairs"),
        ({"namespace": "a", "slo": ["ttft <= 1s"]}, "--slo: slos[0]: 'ttft <= 1s': ttft needs a statistic; allowed:"),
        ({"namespace": "a", "knob": ["max_num_seqs"]}, "--knob: 'max_num_seqs'; allowed: NAME=VALUE"),
        ({"namespace": "a", "knob": ["max_num_seqs=0.5"]}, "--knob: search.knobs.max_num_seqs: 0.5; allowed: a value"),
        ({"namespace": "a", "knob": ["max_num_seq=drop"]}, "vllm has no such flag; did you mean max_num_seqs"),
        ({"namespace": "a", "knob": ["nothere=3"]}, "--knob: search.knobs.nothere: unknown knob, vllm has no"),
    ],
)
def test_options_are_refused_by_their_spelling(refuse: Refuse, options: dict[str, Any], said: str) -> None:
    problems = refuse(None, **options)
    assert len(problems) == 1, problems
    assert said in problems[0]
    assert "s3cret" not in problems[0]
