"""A study from its file, its options and its defaults, and everything that is refused before anything has happened."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tuner.cli.start import start
from tuner.core.errors import InvalidInput
from tuner.core.knob import Candidate
from tuner.core.slo import parse_slo
from tuner.core.workload import Api, Count, Lengths, Objective, ObjectiveKind, Workload
from tuner.study.spec.complaints import dotted
from tuner.study.spec.load import default_storage, load_spec
from tuner.study.spec.options import OPTIONS
from tuner.study.spec.sections import DEFAULT_SLOS, Section, StudySpec

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[4]
Load = Callable[..., StudySpec]
Refuse = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a study from the text of its file and options."""

    def load_text(text: str | bytes | None = "", **options: Any) -> StudySpec:
        path = None
        if text is not None:
            path = tmp_path / "study.yaml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_spec(path, {name.replace("_", "-"): value for name, value in options.items()}, now=NOW)

    return load_text


@pytest.fixture
def refuse(load: Load, tmp_path: Path) -> Refuse:
    """The problems of a study that is refused, without the folder of its file."""

    def problems(text: str | bytes | None = "", **options: Any) -> list[str]:
        with pytest.raises(InvalidInput) as refusal:
            load(text, **options)
        return [problem.replace(f"{tmp_path}/", "") for problem in refusal.value.problems]

    return problems


SIMULATED = "target: {simulated: h100/llama-3.1-8b}\n"


# --- what is said, and what is assumed --------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h100/llama-3.1-8b", ("h100", 1, "llama-3.1-8b")),
        ("2xH100/meta-llama/Llama-3.1-70B-Instruct", ("H100", 2, "meta-llama/Llama-3.1-70B-Instruct")),
    ],
)
def test_a_simulated_target_has_a_short_form(load: Load, text: str, expected: tuple[str, int, str]) -> None:
    simulated = load(None, simulated=text).target.simulated
    assert simulated is not None
    assert (simulated.gpu, simulated.count, simulated.model) == expected


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


def test_paths_are_relative_to_the_file_that_names_them(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "hello"}\n')
    monkeypatch.chdir("/")
    spec = load(SIMULATED + "workload: {prompts_file: prompts.jsonl}\n")
    assert spec.workload.prompts_file == str(tmp_path / "prompts.jsonl")
    assert spec.core_workload().real_text


def test_sections_of_which_every_line_is_commented_out_say_nothing(load: Load) -> None:
    assert load(SIMULATED + "budget:\n  # starts: 12\nsearch:\nslos:\n").budget.starts == 20


# --- options over file over defaults ----------------------------------------------------------------------------------


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


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_many_mistakes_are_told_at_once_each_with_its_line(refuse: Refuse) -> None:
    problems = refuse(
        """\
name: My Study
target: {simulated: h10/llama-3.1-8b}
slos:
  - ttft p95 <= 500
objective: {kind: throughput}
objektive: capacity
workload: {prefix_groups: 4}
budget:
  starts: 3
  pairs: true
""",
        seed="x",
    )
    for expected in (
        r"study.yaml:1: name: 'My Study' can't be used; allowed: ",
        r"study.yaml:2: target.simulated.gpu: 'h10' is not in the catalogue; allowed: .*H100",
        r"study.yaml:4: slos\[0\]: 'ttft p95 <= 500': a latency needs a unit; allowed: us, ms, s, min",
        r"study.yaml:5: objective.concurrency: missing; .*64",
        r"study.yaml:6: objektive: unknown field; did you mean objective\?",
        r"study.yaml:7: workload.prefix_groups: 4 has no meaning without workload.shared_prefix",
        r"study.yaml:10: budget.pairs: true is not a whole number; allowed: a whole number from 2 to 100",
        r"--seed: 'x' is not a whole number; allowed: a whole number from 0 to 4294967295",
    ):
        assert any(re.match(expected, problem) for problem in problems), (expected, problems)
    assert len(problems) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: {starts: true}", "study.yaml:2: budget.starts: true is not a whole number"),
        ("budget: {starts: 1e3}", "study.yaml:2: budget.starts: 1000.0 is not a whole number"),
        ("budget: {starts: '12'}", "study.yaml:2: budget.starts: '12' is not a whole number"),
        ("budget: {starts: -3}", "study.yaml:2: budget.starts: -3 is too small; allowed: a whole number from 1"),
        ("budget: {starts: 017}", "study.yaml:2: budget.starts: 017 has a leading zero"),
        ("budget: {starts: null}", "study.yaml:2: budget.starts: null is not a whole number"),
        (f"budget: {{starts: 1{'0' * 30}}}", "is too large; allowed: a whole number from 1 to 10000"),
        (f"seed: {'9' * 5000}", "is too large a number"),
        ("budget: {gpu_minutes: .nan}", "study.yaml:2: budget.gpu_minutes: .nan is not a finite number"),
        ("budget: {gpu_minutes: -.inf}", "study.yaml:2: budget.gpu_minutes: -.inf is not a finite number"),
        ("budget: {gpu_minutes: 1e999}", "study.yaml:2: budget.gpu_minutes: 1e999 is not a finite number"),
        ("budget: {gpu_minutes: 0}", "study.yaml:2: budget.gpu_minutes: 0 is too small; allowed: a number over 0"),
        ("budget: {smallest_gain: 5}", "study.yaml:2: budget.smallest_gain: 5 is over 100 %; did you mean 5%?"),
        ("budget: [12]", "study.yaml:2: budget: [12] is not a mapping"),
        ("budget: 12", "study.yaml:2: budget: 12 is not a mapping; allowed: a mapping with starts, gpu_minutes"),
        ("starts: 12", "study.yaml:2: starts: unknown field; did you mean budget.starts?"),
        ("Budget: {}", "study.yaml:2: Budget: unknown field; did you mean budget?"),
        ("búdget: {}", "study.yaml:2: búdget: unknown field; did you mean budget?"),
        ("until: 1:30", "study.yaml:2: until: '1:30' could be a time of day or a duration; did you mean 1h30m or"),
        ("until: 2026-01-01T00:00", "study.yaml:2: until: '2026-01-01T00:00' is over already"),
        ("rollout_deadline: 900", "study.yaml:2: rollout_deadline: 900 has no unit; did you mean 900s or 900min?"),
        ("rollout_deadline: 5s", "study.yaml:2: rollout_deadline: '5s' is too small; allowed: a duration from 10s"),
        ("name: ''", "study.yaml:2: name: '' can't be used"),
        ("name: ☃", "study.yaml:2: name: '☃' can't be used"),
        ("name: yes", None),
        ("name: 12", "study.yaml:2: name: 12 is not text"),
        ("name: ../../etc/passwd", "study.yaml:2: name: '../../etc/passwd' can't be used"),
        ("slos: ttft p95 <= 1s", "study.yaml:2: slos: 'ttft p95 <= 1s' is not a list; allowed: a list of SLOs"),
        ("slos: []", "study.yaml:2: slos: is empty; capacity has no meaning without an SLO"),
        ("slos: [ttft p95 >= 1s]", "study.yaml:2: slos[0]: 'ttft p95 >= 1s': an SLO is an upper bound"),
        ("slos: [ttft p95 <= 1s, ttft p95 <= 2s]", "study.yaml:2: slos: ttft p95 is bounded 2 times"),
        ("slos: [{ttft: 1s}]", "study.yaml:2: slos[0]: {'ttft': '1s'} is not text"),
        ("slos: [nan p95 <= 1s]", "study.yaml:2: slos[0]: 'nan p95 <= 1s': unknown metric 'nan'"),
        ("workload: {output: 1}", "study.yaml:2: workload.output: gives each request a single token, by which 'itl"),
        ("workload: {prompt: 0}", "study.yaml:2: workload.prompt.mean: 0 is too small; allowed: a whole number from 1"),
        ("workload: {prompt: 12.5}", "study.yaml:2: workload.prompt: 12.5 is not a whole number; allowed: tokens"),
        ("workload: {api: Chat}", "study.yaml:2: workload.api: 'Chat' is not known; did you mean chat?; allowed: comp"),
        ("workload: {prompts_file: none.jsonl}", "study.yaml:2: workload.prompts_file: 'none.jsonl' can't be read: No"),
        ("workload: {prompts_file: .}", "study.yaml:2: workload.prompts_file: '.' can't be read: Is a directory"),
        ("workload: {prompts_file: study.yaml, prompt: 5}", "workload.prompt: has no meaning beside workload.prompts"),
        ("objective: thruput", "study.yaml:2: objective.kind: 'thruput' is not known; did you mean throughput?"),
        ("objective: throughput", "study.yaml:2: objective.concurrency: missing; throughput is measured in a closed"),
        ("objective: headroom", "study.yaml:2: objective.rate: missing; headroom is measured at a fixed rate"),
        ("objective: {kind: throughput, concurrency: 4, rate: 2}", "objective.rate: 2 has no meaning for throughput"),
        ("objective: {concurrency: 4}", "study.yaml:2: objective.concurrency: 4 has no meaning for capacity"),
        ("objective: {count: tokens}", "study.yaml:2: objective.count: 'tokens' is not known; did you mean"),
        ("budget: {starts: 9}", "budget.starts: 9 is too few; allowed: at least 14 (1 for the baseline, 1 for a cand"),
        ("engine: vlm", "study.yaml:2: engine: 'vlm' has no search space; allowed: vllm"),
        ("gpu: H100", "study.yaml:2: gpu: is for targets that can't tell; of a simulated one, target.simulated.gpu"),
        ("search: {sampler: gp}", "study.yaml:2: search.sampler: 'gp' is not known; allowed: tpe, random"),
        ("search: {allow_output_change: 1}", "allow_output_change: 1 is not true or false; allowed: true or false"),
        ("search: {allow_output_change: yes}", "study.yaml:2: search.allow_output_change: 'yes' is not true or false"),
        ("search: {knobs: {max_num_sequences: 8}}", "vllm has no such flag; did you mean max_num_seqs or"),
        ("search: {knobs: {max_num_seqs: [a]}}", "study.yaml:2: search.knobs.max_num_seqs: ['a']; allowed: values"),
        ("search: {knobs: {no_such_knob: search}}", "study.yaml:2: search.knobs.no_such_knob: unknown knob, vllm has"),
        ("search: {knobs: {stream_interval: search}}", "study.yaml:2: search.knobs.stream_interval: has no usual"),
        ("search: {knobs: {max_num_seqs: {low: 9, hihg: 8}}}", "search.knobs.max_num_seqs: unknown field hihg"),
        ("search: {knobs: {max_num_seqs: {low: .inf}}}", "search.knobs.max_num_seqs.low: .inf is not a finite number"),
        ("storage: postgresql://me:s3cret@h:x/d", "storage: 'postgresql://***@h:x/d' is not a database URL"),
        ("storage: tuner.db", "study.yaml:2: storage: 'tuner.db' is not a database URL; allowed: sqlite:///PATH"),
        ("<<: {seed: 1}", "study.yaml:2: study: merge keys (<<) are not taken"),
        ("? [a]\n: 1", "study.yaml:2: study: a field's name must be plain text"),
        ("seed: !!binary aGk=", "study.yaml:2: seed: aGk= has the tag !binary"),
        ("seed: 1\nseed: 2", "study.yaml:3: seed: is there twice; the first is in line 2"),
    ],
)  # fmt: skip
def test_what_nobody_thought_of_is_refused_with_place_value_and_what_is_allowed(
    load: Load, refuse: Refuse, text: str, said: str | None
) -> None:
    if said is None:
        load(SIMULATED + text)
        return
    problems = refuse(SIMULATED + text)
    assert len(problems) == 1, problems
    assert said in problems[0]
    assert "s3cret" not in problems[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "study.yaml: is empty"),
        ("# nothing\n", "study.yaml: is empty"),
        ("- a\n- b\n", "study.yaml:1: is a list"),
        ("capacity", "study.yaml:1: is a single value"),
        ("a: 1\nb:\tc: 2\n", "study.yaml:2: "),
        ("budget:\n\tstarts: 1\n", "study.yaml:2: has a tab where YAML takes only spaces"),
        ("a: 1\n---\nb: 2\n", "a file is one study"),
        ("a: [1\n", "study.yaml:2: "),
        ("a: *b\n", "study.yaml:1: found undefined alias 'b'"),
        (b"name: \xff\n", "study.yaml:1: is not UTF-8 text (byte 0xff)"),
        (b"name: a\x00b\n", "study.yaml: is not YAML"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{y}: &{y} [{','.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcdefg", "bcdefgh", strict=True)
        ), "too large"),
        ("x" * 1_000_001, "1000001 bytes; a study has at most"),
    ],
)  # fmt: skip
def test_what_is_not_a_study_at_all_is_refused(refuse: Refuse, text: str | bytes, said: str) -> None:
    problems = refuse(text)
    assert len(problems) == 1
    assert said in problems[0]


def test_a_simulated_baseline_takes_only_what_the_engine_takes(refuse: Refuse) -> None:
    baseline = "{max_num_seq: 8, block_size: big, stream_interval: 0.5, enforce_eager: true, max_num_seqs: 8}"
    problems = refuse(f"target:\n  simulated: {{gpu: l4, model: qwen3-8b, baseline: {baseline}}}\n")
    where = "study.yaml:2: target.simulated.baseline"
    assert len(problems) == 3
    assert problems[0].startswith(f"{where}.max_num_seq: unknown knob, vllm has no such flag; did you mean max_num_se")
    assert problems[1:] == [
        f"{where}.block_size: 'big'; allowed: a value of type choice",
        f"{where}.stream_interval: 0.5; --stream-interval must be an integer",
    ]


def test_modes_that_are_not_built_are_refused(refuse: Refuse) -> None:
    problems = refuse("target:\n  kubernetes:\n    mode: shadow\n")
    assert problems == ["study.yaml:3: target.kubernetes.mode: 'shadow' is not known; allowed: live"]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidInput, match=f"{path}: can't be read: {said}"):
            load_spec(path, {})


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
        ({"namespace": "a", "rate": float("nan")}, "--rate: objective.rate: nan is not a finite number"),
        ({"namespace": "a", "starts": 3}, "--starts: budget.starts: 3 is too few; allowed: at least 14"),
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


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_anything = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(st.sampled_from(sorted(StudySpec.model_fields)), _anything)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_field_holds_the_study_is_taken_or_refused_with_reasons(
    tmp_path: Path, name: str, value: object
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({"target": {"simulated": "l4/qwen3-8b"}, name: value}), encoding="utf-8")
    spec, problems = None, ()
    try:
        spec = load_spec(path, {}, now=NOW)
    except InvalidInput as error:
        problems = error.problems
    assert (spec is None) == bool(problems)
    assert all(problem.startswith(f"{path}") for problem in problems)
    if spec is not None:
        assert StudySpec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False))).seed == spec.seed


# --- storing, comparing, places ---------------------------------------------------------------------------------------


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
     "workload: {prompt: 512}"],
)  # fmt: skip
def test_what_does_not_change_what_is_measured_keeps_the_fingerprint(load: Load, change: str) -> None:
    assert load(SIMULATED + change).fingerprint == load(SIMULATED).fingerprint


@pytest.mark.parametrize(
    "change",
    ["seed: 1", "workload: {prompt: 513}", "slos: [ttft p95 <= 2s]", "objective: {count: requests/s}",
     "search: {knobs: {block_size: drop}}", "search: {allow_output_change: true}", "budget: {pairs: 5}",
     "budget: {smallest_gain: 6%}"],
)  # fmt: skip
def test_what_changes_what_is_measured_or_decided_changes_the_fingerprint(load: Load, change: str) -> None:
    assert load(SIMULATED + change).fingerprint != load(SIMULATED).fingerprint


def test_other_prompts_under_the_same_name_are_another_study(load: Load, tmp_path: Path) -> None:
    text = SIMULATED + "workload: {prompts_file: p.jsonl}\n"
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n')
    before = load(text).fingerprint
    (tmp_path / "p.jsonl").write_text('{"prompt": "b"}\n')
    assert load(text).fingerprint != before


def test_studies_go_to_the_data_folder_by_default(tmp_path: Path) -> None:
    assert default_storage({}, tmp_path) == f"sqlite:///{tmp_path}/.local/share/tuner/tuner.db"
    assert default_storage({"XDG_DATA_HOME": "/data"}, tmp_path) == "sqlite:////data/tuner/tuner.db"
    assert default_storage({"XDG_DATA_HOME": "relative"}, tmp_path).startswith(f"sqlite:///{tmp_path}")
    spec = load_spec(None, {"simulated": "l4/qwen3-8b"}, default_storage="sqlite:////d/t.db")
    assert spec.storage == "sqlite:////d/t.db"
    spec = load_spec(
        None, {"simulated": "l4/qwen3-8b", "storage": "sqlite:////e.db"}, default_storage="sqlite:////d.db"
    )
    assert spec.storage == "sqlite:////e.db"


# --- the files and docs that users read -------------------------------------------------------------------------------


def field_paths(model: type[BaseModel], at: tuple[str, ...] = ()) -> list[str]:
    """All fields of a study, dotted; a section counts as well as its fields."""
    found = []
    for name, field in model.model_fields.items():
        found.append(".".join((*at, name)))
        inner = re.findall(r"\b(\w+Spec)\b", str(field.annotation))
        sections = {section.__name__: section for section in Section.__subclasses__()}
        for section in inner[:1]:
            found += field_paths(sections[section], (*at, name))
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_example_studies_load(path: Path) -> None:
    spec = load_spec(path, {}, now=NOW)
    assert spec.assumed == []
    assert spec.warnings == []


def test_the_docs_tell_of_every_field_and_every_option_and_of_no_other() -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)
    leaves = [
        path for path in field_paths(StudySpec) if not any(p.startswith(f"{path}.") for p in field_paths(StudySpec))
    ]
    lengths = {"workload.prompt", "workload.output"}
    expected = {leaf for leaf in leaves if leaf.rpartition(".")[0] not in lengths} | lengths
    assert set(rows) == expected
    assert set(re.findall(r"`--([a-z-]+)`", text)) == set(OPTIONS) - {"deployment"}  # which is the argument


def test_the_command_line_has_every_option() -> None:
    assert {name.replace("_", "-") for name in inspect.signature(start).parameters} >= set(OPTIONS)


def test_the_examples_in_the_docs_load(load: Load) -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        load(example)
