from __future__ import annotations

import pytest

from tuner.core.errors import InvalidInput
from tuner.study.spec.settings import parse_settings


def test_names_are_flags_or_knobs_and_values_what_yaml_takes_them_for() -> None:
    found = parse_settings(["max-num-seqs=128", "async_scheduling=true", "dtype=bfloat16"], "--set")
    assert found == {"max_num_seqs": 128, "async_scheduling": True, "dtype": "bfloat16"}


@pytest.mark.parametrize("text", ["max_num_seqs", "=1", "max_num_seqs="])
def test_what_is_no_setting_is_named_with_where_it_stands(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"settings '{text}': write NAME=VALUE"):
        parse_settings([text], "settings")


@pytest.mark.parametrize(("text", "why"), [("a=064", "leading zero"), ("a=.nan", "not a finite number")])
def test_a_value_that_can_not_be_read_is_told_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=f"--set '{text}': .*{why}"):
        parse_settings([text], "--set")


def test_a_setting_that_is_given_twice_is_refused_under_either_name() -> None:
    with pytest.raises(InvalidInput, match="--set max_num_seqs: is given twice"):
        parse_settings(["max-num-seqs=1", "max_num_seqs=2"], "--set")
