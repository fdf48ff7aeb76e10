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
