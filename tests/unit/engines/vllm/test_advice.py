"""What `tuner doctor` says about flags."""

from __future__ import annotations

import json

import pytest

from tuner.engines import engine_named
from tuner.engines.engine import FlagAdvice
from tuner.podspec.flags import parse

VLLM = engine_named("vllm")
SYNTAX = VLLM.syntax()


def check(*items: str, version: str | None = None) -> list[FlagAdvice]:
    return VLLM.check(parse(items, SYNTAX), version)


def one(*items: str, version: str | None = None) -> FlagAdvice:
    (advice,) = check(*items, version=version)
    return advice


def test_a_good_command_line_needs_no_advice() -> None:
    good = ["m", "--max-num-seqs=64", "--max-num-batched-tokens=8k", "-tp", "2", "--enable-prefix-caching", "-O3"]
    assert (
        check(*good, '--speculative-config={"method":"ngram","num_speculative_tokens":3}', "--max-num-seq", "64")[1:]
        == []
    )
    assert check(*good) == []


def test_old_speculation_flags_are_translated_together() -> None:
    for advice in check("--speculative-model=org/draft", "--num-speculative-tokens=5"):
        assert "removed in 0.8.3" in advice.problem
        assert advice.instead is not None
        name, _, value = advice.instead.partition("=")
        assert name == "--speculative-config"
        assert json.loads(value) == {"method": "draft_model", "model": "org/draft", "num_speculative_tokens": 5}


def test_a_removed_flag_names_its_version() -> None:
    advice = one("--swap-space", "4", version="0.32.0")
    assert advice.flag == "--swap-space 4"
    assert "does not know" in advice.problem
    assert "0.18.0" in advice.problem
    assert advice.instead == "leave it out"


def test_a_version_that_still_takes_a_flag_is_told_what_comes() -> None:
    advice = one("--disable-log-requests", version="v0.6.0")
    assert "vLLM 0.6.0 takes it, current versions do not" in advice.problem


def test_a_flag_that_is_newer_than_the_image() -> None:
    assert "does not know it yet" in one('--speculative-config={"method":"ngram"}', version="0.6.0").problem


def test_a_switch_takes_no_value() -> None:
    assert "takes no value" in one("--enforce-eager=false").problem
    assert one("--enforce-eager=true").instead == "--enforce-eager"
    assert one("--enable-prefix-caching=false").instead == "--no-enable-prefix-caching"
    assert check("--enable-chunked-prefill=False", version="0.6.0") == []
    assert "takes no value" in one("--enable-chunked-prefill=False", version="0.8.5").problem


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("--gpu-memory-utilisation=0.9", "--gpu-memory-utilization=0.9"),
        ("--max-num-sequences=8", "--max-num-seqs=8"),
        ("--tensor-paralel-size=2", "--tensor-parallel-size=2"),
        ("--enable-prefix-cacheing", "--enable-prefix-caching"),
    ],
)
def test_misspelt_flags_are_guessed(written: str, meant: str) -> None:
    assert one(written).instead == meant


def test_a_flag_like_nothing_else_gets_no_guess() -> None:
    advice = one("--quux=1")
    assert advice.instead is None
    assert "does not know it" in advice.problem


def test_an_ambiguous_abbreviation_lists_what_it_could_be() -> None:
    assert "--max-num-seqs" in one("--max-num=4").problem


def test_values_of_the_wrong_type_or_choice() -> None:
    assert "integer" in one("--max-num-seqs=many").problem
    assert one("--kv-cache-dtype=fp9").instead == "--kv-cache-dtype=fp8"
    assert "JSON" in one("--speculative-config={method:ngram}").problem
    assert "from 0 to 1" in one("--gpu-memory-utilization=1.5").problem
    assert check("--max-num-seqs=$(SEQS)") == []


def test_options_of_several_values_are_checked_value_by_value() -> None:
    assert check("--cudagraph-capture-sizes", "1", "2", "4") == []
    assert "'two' is not allowed; it must be an integer" in one("--cudagraph-capture-sizes", "1", "two").problem


def test_json_is_asked_for_only_where_the_version_takes_nothing_else() -> None:
    assert "JSON" in one("--limit-mm-per-prompt=image=2").problem
    assert check("--limit-mm-per-prompt=image=2", version="0.9.2") == []


def test_relations_between_flags() -> None:
    assert one("--max-num-seqs=256", "--max-num-batched-tokens=128").instead == "--max-num-batched-tokens=256"
    assert check("--max-model-len=4096", "--max-num-batched-tokens=2048") == []
    assert len(check("--max-model-len=4096", "--max-num-batched-tokens=2048", "--no-enable-chunked-prefill")) == 1


def test_duplicates_have_no_effect_but_dotted_keys_are_no_duplicates() -> None:
    assert one("--max-num-seqs=8", "--max-num-seqs=16").flag == "--max-num-seqs=8"
    assert check("--compilation-config.mode=3", "--compilation-config.backend=inductor") == []
    assert check("--middleware=a", "--middleware=b") == []
