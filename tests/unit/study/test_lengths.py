"""A workload whose requests no trial could serve is refused, with both numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.search.targets import target
from tuner.core.errors import InvalidInput
from tuner.core.knob import Value
from tuner.core.target import TargetInfo
from tuner.core.workload import Lengths, Workload
from tuner.search import load_space
from tuner.study.lengths import refuse_too_long

LONG = Workload(Lengths(3000), Lengths(1000), shared_prefix=200)


def told(workload: Workload, info: TargetInfo, edits: dict[str, object] | None = None) -> str:
    """What is refused; "" where nothing is."""
    try:
        refuse_too_long(workload, info, load_space("vllm", info, edits))
    except InvalidInput as error:
        return str(error)
    return ""


def serving(length: Value | None, *, simulated: bool = False) -> TargetInfo:
    """A target that says how much it takes; Llama 3.1 takes 131072."""
    return replace(target(), fixed={} if length is None else {"max_model_len": length}, simulated=simulated)


@pytest.mark.parametrize(("length", "fits"), [(4200, True), (4199, False), (2048, False)])
def test_prompt_prefix_and_output_must_fit_the_flag(length: int, fits: bool) -> None:
    said = told(LONG, serving(length))
    assert (said == "") is fits
    if not fits:
        assert "requests need 4200 tokens for a prompt of 3200 and an output of 1000" in said
        assert f"the engine takes {length} (its --max-model-len)" in said


def test_lengths_that_vary_must_fit_with_their_99th_percentile() -> None:
    varying = Workload(Lengths(2000, 0.5), Lengths(100))
    assert told(Workload(Lengths(2000), Lengths(100)), serving(4096)) == ""
    assert "the longest requests (99th percentile) need 5468 tokens" in told(varying, serving(4096))
    assert told(varying, serving(5468)) == ""


def test_the_models_own_limit_counts_on_a_simulated_engine_only() -> None:
    huge = Workload(Lengths(131_000), Lengths(100))
    assert "the engine takes 131072 (the longest of Llama-3.1-8B)" in told(huge, serving(None, simulated=True))
    assert told(huge, serving(None)) == ""
    assert told(huge, serving("auto")) == ""


def test_a_baseline_of_a_simulated_engine_counts_as_a_flag() -> None:
    info = replace(serving(None, simulated=True), baseline=target(baseline={"max_model_len": 1024}).baseline)
    assert "the engine takes 1024" in told(LONG, info)


@pytest.mark.parametrize(
    ("edit", "shortest"),
    [({"low": 1024, "high": 8192}, 1024), ([2048, 8192], 2048), (3000, 3000), ([4200, 8192], None), (8192, None)],
)
def test_every_length_that_may_be_tried_must_be_enough(edit: object, shortest: int | None) -> None:
    said = told(LONG, serving(8192), {"max_model_len": edit})
    expected = f"search.knobs.max_model_len: {shortest} is too short for the workload; allowed: at least 4200"
    assert said == ("" if shortest is None else f"{expected} (prompt 3200, output 1000)")


def test_a_longer_limit_to_be_tried_does_not_save_a_baseline_that_can_not_serve() -> None:
    assert "the engine takes 2048" in told(LONG, serving(2048), {"max_model_len": 8192})


def test_a_word_of_a_prompts_file_is_a_token_at_least(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "' + "word " * 900 + '"}\n{"prompt": "b", "output_tokens": 3000}\n')
    workload = Workload(output=Lengths(100), prompts_file=str(path))
    assert told(workload, serving(3001)) == ""
    said = told(workload, serving(2048))
    assert "the longest requests (a token for each word at least) need 3001 tokens for a prompt of 1 and" in said
    assert f"leave the longest prompts out of {path}" in said
    path.write_text('{"prompt": "' + "word " * 9000 + '"}\n')
    assert "need 9100 tokens for a prompt of 9000 and an output of 100" in told(workload, serving(8192))
