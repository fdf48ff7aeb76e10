"""Single fields: short forms, paths, and what is not built yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.study.spec.conftest import SIMULATED, Load, Refuse


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


@pytest.mark.parametrize(
    "text", ["2h100/llama-3.1-8b", "xh100/llama-3.1-8b", "1.5xh100/llama-3.1-8b", "h100", "/x", "h100/"]
)
def test_a_short_form_is_not_guessed_from_what_is_none(refuse: Refuse, text: str) -> None:
    (problem,) = refuse(None, simulated=text)
    assert f"'{text}' is not GPU/MODEL" in problem


def test_paths_are_relative_to_the_file_that_names_them(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "hello"}\n')
    monkeypatch.chdir("/")
    spec = load(SIMULATED + "workload: {prompts_file: prompts.jsonl}\n")
    assert spec.workload.prompts_file == str(tmp_path / "prompts.jsonl")
    assert spec.core_workload().real_text


def test_modes_that_are_not_built_are_refused(refuse: Refuse) -> None:
    problems = refuse("target:\n  kubernetes:\n    mode: shadow\n")
    assert problems == ["study.yaml:3: target.kubernetes.mode: 'shadow' is not known; allowed: live"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workload: {lengths: []}", "workload.lengths: [] is no list of pairs; allowed: pairs of prompt and output"),
        ("workload: {lengths: 5}", "workload.lengths: 5 is no list of pairs; allowed: pairs of prompt and output"),
        ("workload: {lengths: [[5, 5], [5]]}", "has [5], which is no pair of whole numbers from 1, perhaps with a"),
        ("workload: {lengths: [[5, 0]]}", "has [5, 0], which is no pair of whole numbers"),
        ("workload: {lengths: [[5, 5, 0]]}", "has [5, 5, 0], which is no pair"),
        ("workload: {lengths: [[5.5, 5]]}", "has [5.5, 5], which is no pair"),
        ("workload: {lengths: no.csv}", "workload.lengths: 'no.csv' can't be read: No such file"),
        ("workload: {trace: no.csv}", "'no.csv' can't be read: No such file or directory; allowed: the path of an Azu"),
        ("workload: {tokenizer: no.json}", "'no.json' can't be read: No such file or directory; allowed: the path of"),
        ("workload: {arrivals: posson}", "'posson' is not known; did you mean poisson?; allowed: poisson, constant, g"),
        ("workload: {prompt: {mean: 5, shape: gauss}}", "'gauss' is not known; allowed: log-normal, normal"),
        ("workload: {arrivals: gamma, burstiness: 0}", "workload.burstiness: 0 is too small; allowed: a number from 0"),
        ("workload: {prompts_file: study.yaml, held_out: 95%}", "workload.held_out: '95%' is too large; allowed: a sh"),
        ("workload: {shared_prefix: 9, prefix_share: 0}", "workload.prefix_share: 0 is too small; allowed: a share"),
    ],
)
def test_what_a_workload_can_not_be_is_refused(refuse: Refuse, text: str, said: str) -> None:
    problems = refuse(SIMULATED + text)
    assert len(problems) == 1, problems
    assert said in problems[0]
