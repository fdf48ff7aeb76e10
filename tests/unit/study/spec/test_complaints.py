"""A field that holds what it can't is refused with its place, the value and what is allowed."""

from __future__ import annotations

import pytest

from tests.unit.study.spec.conftest import SIMULATED, Load, Refuse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: {starts: true}", "study.yaml:2: budget.starts: true is not a whole number"),
        ("budget: {starts: 1e3}", "study.yaml:2: budget.starts: 1000.0 is not a whole number"),
        ("budget: {starts: '12'}", "study.yaml:2: budget.starts: '12' is not a whole number"),
        ("budget: {starts: -3}", "study.yaml:2: budget.starts: -3 is too small; allowed: a whole number from 1"),
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
        ("slos: [ttft p95 >= 1s]", "study.yaml:2: slos[0]: 'ttft p95 >= 1s': an SLO is an upper bound"),
        ("slos: [{ttft: 1s}]", "study.yaml:2: slos[0]: {'ttft': '1s'} is not text"),
        ("slos: [nan p95 <= 1s]", "study.yaml:2: slos[0]: 'nan p95 <= 1s': unknown metric 'nan'"),
        ("workload: {prompt: 0}", "study.yaml:2: workload.prompt.mean: 0 is too small; allowed: a whole number from 1"),
        ("workload: {output: 128k}", "study.yaml:2: workload.output: '128k' is not a whole number; allowed: tokens"),
        ("workload: {prompt: 12.5}", "study.yaml:2: workload.prompt: 12.5 is not a whole number; allowed: tokens"),
        ("workload: {api: Chat}", "study.yaml:2: workload.api: 'Chat' is not known; did you mean chat?; allowed: comp"),
        ("workload: {prompts_file: none.jsonl}", "study.yaml:2: workload.prompts_file: 'none.jsonl' can't be read: No"),
        ("workload: {prompts_file: .}", "study.yaml:2: workload.prompts_file: '.' can't be read: Is a directory"),
        ("objective: thruput", "study.yaml:2: objective.kind: 'thruput' is not known; did you mean throughput?"),
        ("objective: {count: tokens}", "study.yaml:2: objective.count: 'tokens' is not known; did you mean"),
        ("engine: vlm", "study.yaml:2: engine: 'vlm' has no search space; allowed: vllm"),
        ("search: {sampler: gp}", "study.yaml:2: search.sampler: 'gp' is not known; allowed: tpe, random"),
        ("search: {allow_output_change: 1}", "allow_output_change: 1 is not true or false; allowed: true or false"),
        ("search: {allow_output_change: yes}", "study.yaml:2: search.allow_output_change: 'yes' is not true or false"),
        ("storage: postgresql://me:s3cret@h:x/d", "storage: 'postgresql://***@h:x/d' is not a database URL"),
        ("storage: tuner.db", "'tuner.db' is not a database URL; did you mean sqlite:///tuner.db?; allowed: sqlite:///"),
        ("model: none.json", "study.yaml:2: model: 'none.json' can't be read: No such file"),
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
