"""What a study says reaches the core, what it leaves open is told, and what makes trials comparable is known."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.study.spec.conftest import NOW, SIMULATED, Load
from tuner.core.knob import Candidate
from tuner.core.slo import parse_slo
from tuner.core.workload import Api, Arrival, Count, Lengths, Objective, ObjectiveKind, Pair, Shape, Workload
from tuner.study.spec import StudySpec
from tuner.study.spec.sections import DEFAULT_SLOS


def test_a_target_is_enough_and_all_that_is_assumed_is_told(load: Load) -> None:
    spec = load(SIMULATED)
    assert spec.core_workload() == Workload(Lengths(512), Lengths(128))
    assert spec.core_objective() == Objective(ObjectiveKind.CAPACITY, Count.OUTPUT_TOKENS)
    assert spec.core_slos() == tuple(parse_slo(text) for text in DEFAULT_SLOS)
    assert [one.split(":")[0] for one in spec.assumed] == ["workload", "slos", "objective", "budget"]
    assert "512" in spec.assumed[0]
    assert DEFAULT_SLOS[0] in spec.assumed[1]


def test_what_is_said_is_not_assumed(load: Load) -> None:
    spec = load(
        SIMULATED + "workload: {prompt: 100}\nslos: [ttft p95 <= 1s]\nobjective: capacity\nbudget: {starts: 14}\n"
    )
    assert spec.assumed == []


def test_all_of_a_file_reaches_the_core(load: Load) -> None:
    spec = load(
        """
        name: night
        target:
          simulated:
            gpu: A100-80
            model: Llama-3.1-70B
            count: 4
            baseline: {max-num-seqs: 64, gpu_memory_utilization: 0.9, enforce_eager: true}
            seed: 7
        workload:
          prompt: {mean: 1000, cv: 0.5}
          output: 100
          shared_prefix: 200
          prefix_groups: 3
          api: chat
        slos: [ttft p95 <= 500ms, error rate <= 0.1%]
        objective: {kind: headroom, rate: 1e1, count: requests/s}
        search:
          knobs: {max_num_seqs: {low: 16, high: 128}, block_size: drop, max_num_batched_tokens: [1024, 2048]}
          allow_output_change: true
          sampler: random
        budget: {starts: 12, gpu_minutes: 90, pairs: 3, smallest_gain: 10%, restart_cv: 0.02}
        until: 2h30m
        seed: 3
        storage: sqlite:///x.db
        rollout_deadline: 5min
        """
    )
    assert spec.target.simulated is not None
    assert spec.target.simulated.candidate == Candidate.of(
        max_num_seqs=64, gpu_memory_utilization=0.9, enforce_eager=True
    )
    assert spec.target.simulated.count == 4
    assert spec.core_workload() == Workload(Lengths(1000, 0.5), Lengths(100), 200, 3, None, Api.CHAT)
    assert spec.core_objective() == Objective(ObjectiveKind.HEADROOM, Count.REQUESTS, 10.0)
    assert [str(slo) for slo in spec.core_slos()] == ["ttft p95 <= 500ms", "error rate <= 0.1%"]
    assert spec.search.knobs["max_num_batched_tokens"] == [1024, 2048]
    assert (spec.budget.starts, spec.budget.gpu_minutes, spec.budget.pairs) == (12, 90.0, 3)
    assert (spec.budget.smallest_gain, spec.budget.restart_cv) == (0.1, 0.02)
    assert spec.until == NOW + timedelta(hours=2, minutes=30)
    assert spec.rollout_deadline_s == 300
    assert (spec.name, spec.seed) == ("night", 3)


def test_a_trace_is_replayed_and_summed_up_for_those_who_plan(load: Load, tmp_path: Path) -> None:
    lines = [{"timestamp": 1000 * i, "input_length": 400 + 100 * i, "output_length": 20} for i in range(4)]
    (tmp_path / "trace.jsonl").write_text("\n".join(map(json.dumps, lines)))
    spec = load(SIMULATED + "workload: {longest: 620}\n", trace=str(tmp_path / "trace.jsonl"))
    workload = spec.core_workload()
    assert (workload.trace, workload.longest) == (str(tmp_path / "trace.jsonl"), 620)
    assert workload.arrivals is Arrival.TRACE
    assert (workload.prompt.mean, workload.output) == (500, Lengths(20, 0.0))
    assert workload.prompt.cv == pytest.approx(0.163, abs=0.001)
    assert not any(text.startswith("workload") for text in spec.assumed)
    other = load(SIMULATED + "workload: {arrivals: gamma, burstiness: 0.5, trace: trace.jsonl}\n").core_workload()
    assert (other.arrivals, other.burstiness, other.prompt.mean) == (Arrival.GAMMA, 0.5, 550)


def test_counted_lengths_are_written_out_or_read_from_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "lengths.csv").write_text("prompt,output,weight\n100,10,3\n500,50,1\n")
    written = load(SIMULATED + "workload: {lengths: [[100, 10, 3], [500, 50]]}\n").core_workload()
    read = load(SIMULATED + "workload: {lengths: lengths.csv}\n").core_workload()
    assert written == read
    assert written.pairs == (Pair(100, 10, 3), Pair(500, 50))
    assert (written.prompt.mean, written.output.mean) == (200, 20)


def test_the_rest_of_a_workload_reaches_the_core(load: Load, tmp_path: Path) -> None:
    for name in ("p.jsonl", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    spec = load(
        """
        target: {simulated: h100/llama-3.1-8b}
        workload:
          output: {mean: 50, cv: 0.3, shape: normal}
          prompts_file: p.jsonl
          held_out: 30%
          arrivals: constant
          tokenizer: tokenizer.json
        """
    )
    workload = spec.core_workload()
    assert workload.output == Lengths(50, 0.3, Shape.NORMAL)
    assert (workload.held_out, workload.arrivals) == (0.3, Arrival.CONSTANT)
    assert workload.tokenizer == str(tmp_path / "tokenizer.json")
    assert load(SIMULATED + "workload: {shared_prefix: 9, prefix_share: 0.8}\n").core_workload().prefix_share == 0.8
    talk = load(SIMULATED + "workload: {turns: 5, think: 20s}\n").core_workload()
    assert (talk.turns, talk.think_s) == (5, 20.0)


def test_a_cluster_needs_no_more_than_its_mention(load: Load) -> None:
    kubernetes = load("target:\n  kubernetes:\n").target.kubernetes
    assert kubernetes is not None
    assert (kubernetes.namespace, kubernetes.deployment, kubernetes.mode) == (None, None, "live")


@pytest.mark.parametrize(
    ("slos", "added"),
    [
        ("[ttft p50 <= 500ms]", True),
        ("[ttft mean <= 500ms, e2e p90 <= 9s]", True),
        ("[ttft p50 <= 500ms, itl p95 <= 90ms]", False),  # a failed request exceeds every bound
        ("[ttft p50 <= 500ms, error rate <= 20%]", False),
    ],
)
def test_how_many_requests_may_fail_is_always_limited(load: Load, slos: str, added: bool) -> None:
    spec = load(SIMULATED + f"slos: {slos}\n")
    assert ("error rate <= 5%" in [str(slo) for slo in spec.core_slos()]) is added
    assert any("may fail" in text for text in spec.assumed) is added
    again = StudySpec.from_dict(spec.to_dict())
    assert (again.core_slos(), again.fingerprint) == (spec.core_slos(), spec.fingerprint)


def test_throughput_promises_no_latency_and_warns_of_those_that_measure_the_concurrency(load: Load) -> None:
    spec = load(SIMULATED + "objective: {kind: throughput, concurrency: 64}\n")
    assert [str(slo) for slo in spec.core_slos()] == ["error rate <= 5%"]
    assert "slos: error rate <= 5%" in spec.assumed
    warned = load(SIMULATED + "objective: {kind: throughput, concurrency: 64}\nslos: [ttft p95 <= 1s, itl p99 <= 1s]\n")
    assert ["ttft" in warning for warning in warned.warnings] == [True]
    assert load(SIMULATED).warnings == []


def test_a_stored_study_is_the_same_study(load: Load) -> None:
    spec = load(
        SIMULATED + "until: 90min\nobjective: {kind: throughput, concurrency: 4}\nrollout_deadline: 2m5s\n",
        knob=["max_num_seqs=64"],
    )
    stored = json.loads(json.dumps(spec.to_dict(), allow_nan=False))
    again = StudySpec.from_dict(stored)
    assert again.to_dict() | {"assumed": None} == stored | {"assumed": None}
    assert again.fingerprint == spec.fingerprint == stored["fingerprint"]
    assert again.until == spec.until
    assert again.core_slos() == spec.core_slos()


def test_a_password_is_used_but_never_stored(load: Load) -> None:
    spec = load(SIMULATED + "storage: postgresql://me:s3cret@h/d\n")
    assert spec.storage == "postgresql://me:s3cret@h/d"
    assert "s3cret" not in json.dumps(spec.to_dict())


@pytest.mark.parametrize(
    "change",
    ["name: b", "until: 5h", "storage: sqlite:////x.db", "budget: {starts: 40}", "budget: {gpu_minutes: 5}",
     "rollout_deadline: 1h", "slos: [itl p99 <= 0.1s, ttft p95 <= 1000 ms]", "objective: capacity",
     "workload: {prompt: 512}", "workload: {prompt: {mean: 512, shape: log-normal}, prefix_share: 1}"],
)  # fmt: skip
def test_what_does_not_change_what_is_measured_keeps_the_fingerprint(load: Load, change: str) -> None:
    assert load(SIMULATED + change).fingerprint == load(SIMULATED).fingerprint


@pytest.mark.parametrize(
    "change",
    ["seed: 1", "workload: {prompt: 513}", "workload: {arrivals: constant}", "workload: {lengths: [[512, 128]]}",
     "workload: {prompt: {mean: 512, cv: 0.1, shape: normal}}",
     "slos: [ttft p95 <= 2s]", "objective: {count: requests/s}",
     "search: {knobs: {block_size: drop}}", "search: {allow_output_change: true}", "budget: {pairs: 5}",
     "budget: {smallest_gain: 6%}"],
)  # fmt: skip
def test_what_changes_what_is_measured_or_decided_changes_the_fingerprint(load: Load, change: str) -> None:
    assert load(SIMULATED + change).fingerprint != load(SIMULATED).fingerprint


def test_a_study_that_knew_no_newer_fields_goes_on(load: Load) -> None:
    """The fingerprint as it was when workloads had six fields; what is stored under it must be found again."""
    spec = load(SIMULATED + "workload: {prompt: {mean: 1024, cv: 0.5}, shared_prefix: 64}\n")
    assert spec.workload.identity() == {
        "prompt": {"mean": 1024, "cv": 0.5},
        "output": {"mean": 128, "cv": 0.0},
        "shared_prefix": 64,
        "prefix_groups": 1,
        "prompts_file": None,
        "api": "completions",
    }
    stored = spec.to_dict()
    stored["workload"] = {name: stored["workload"][name] for name in spec.workload.identity()}
    assert StudySpec.from_dict(stored).fingerprint == spec.fingerprint


def test_other_prompts_under_the_same_name_are_another_study(load: Load, tmp_path: Path) -> None:
    text = SIMULATED + "workload: {prompts_file: p.jsonl}\n"
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n')
    before = load(text).fingerprint
    (tmp_path / "p.jsonl").write_text('{"prompt": "b"}\n')
    assert load(text).fingerprint != before


@pytest.mark.parametrize("name", ["trace", "lengths", "tokenizer"])
def test_another_content_of_a_file_is_another_study(load: Load, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("a")
    before = load(SIMULATED + f"workload: {{{name}: file}}\n").fingerprint
    (tmp_path / "file").write_text("b")
    assert load(SIMULATED + f"workload: {{{name}: file}}\n").fingerprint != before
