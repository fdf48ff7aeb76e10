"""Fields that do not go together are refused at the one to change."""

from __future__ import annotations

import pytest

from tests.unit.study.spec.conftest import SIMULATED, Refuse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slos: []", "study.yaml:2: slos: is empty; capacity has no meaning without an SLO"),
        ("slos: [ttft p95 <= 1s, ttft p95 <= 2s]", "study.yaml:2: slos: ttft p95 is bounded 2 times"),
        ("workload: {output: 1}", "study.yaml:2: workload.output: gives each request a single token, by which 'itl"),
        ("workload: {prompts_file: study.yaml, prompt: 5}", "workload.prompt: has no meaning beside workload.prompts"),
        ("workload: {lengths: [[5, 5]], output: 9}", "workload.output: has no meaning beside workload.lengths, which"),
        ("workload: {trace: study.yaml, shared_prefix: 9}", "workload.shared_prefix: has no meaning beside workload.t"),
        ("workload: {trace: study.yaml, lengths: [[5, 5]]}", "workload.lengths: has no meaning beside workload.trace:"),
        ("workload: {prefix_share: 50%}", "workload.prefix_share: 0.5 has no meaning without workload.shared_prefix, "),
        ("workload: {longest: 4096}", "study.yaml:2: workload.longest: 4096 has no meaning without workload.trace, wh"),
        ("workload: {held_out: 0}", "study.yaml:2: workload.held_out: 0 has no meaning without workload.prompts_file,"),
        ("workload: {arrivals: trace}", "workload.arrivals: 'trace' has no meaning without workload.trace, whose time"),
        ("workload: {arrivals: gamma}", "study.yaml:2: workload.burstiness: missing; gamma arrivals need it: 1 is Poi"),
        ("workload: {burstiness: 0.5}", "study.yaml:2: workload.burstiness: 0.5 has no meaning unless workload.arriva"),
        ("workload: {prompt: {mean: 9, cv: 0.6, shape: normal}}", "workload.prompt.cv: 0.6 is too wide for normal len"),
        ("workload: {think: 10s}", "study.yaml:2: workload.think: has no meaning without workload.turns, of which it"),
        ("workload: {trace: study.yaml, turns: 3}", "workload.turns: has no meaning beside workload.trace, whose requ"),
        ("workload: {turns: 3, think: 10s}\nobjective: {kind: throughput, concurrency: 4}", "workload.think: has no m"),
        ("workload: {arrivals: constant}\nobjective: {kind: throughput, concurrency: 4}", "workload.arrivals: has no"),
        ("objective: throughput", "study.yaml:2: objective.concurrency: missing; throughput is measured in a closed"),
        ("objective: headroom", "study.yaml:2: objective.rate: missing; headroom is measured at a fixed rate"),
        ("objective: {kind: throughput, concurrency: 4, rate: 2}", "objective.rate: 2 has no meaning for throughput"),
        ("objective: {concurrency: 4}", "study.yaml:2: objective.concurrency: 4 has no meaning for capacity"),
        ("budget: {starts: 9}", "budget.starts: 9 is too few; allowed: at least 14 (1 for the baseline, 1 for a cand"),
        ("gpu: H100", "study.yaml:2: gpu: is for targets that can't tell; of a simulated one, target.simulated.gpu"),
        ("search: {knobs: {max_num_sequences: 8}}", "vllm has no such flag; did you mean max_num_seqs or"),
        ("search: {knobs: {max_num_seqs: [a]}}", "study.yaml:2: search.knobs.max_num_seqs: ['a']; allowed: values"),
        ("search: {knobs: {no_such_knob: search}}", "study.yaml:2: search.knobs.no_such_knob: unknown knob, vllm has"),
        ("search: {knobs: {stream_interval: search}}", "study.yaml:2: search.knobs.stream_interval: has no usual"),
        ("search: {knobs: {max_num_seqs: {low: 9, hihg: 8}}}", "search.knobs.max_num_seqs: unknown field hihg"),
        ("search: {knobs: {max_num_seqs: {low: .inf}}}", "search.knobs.max_num_seqs.low: .inf is not a finite number"),
    ],
)  # fmt: skip
def test_fields_that_do_not_agree_are_refused_at_the_one_to_change(refuse: Refuse, text: str, said: str) -> None:
    problems = refuse(SIMULATED + text)
    assert len(problems) == 1, problems
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
