from __future__ import annotations

import argparse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.podspec.syntax import EAGER, LENGTH, LEVEL, MEMORY, PREFIX, SEQS, SERVED, SPEC, SYNTAX, TP
from tuner.podspec.flags import escape, parse, references, unescape


def read(*items: str) -> list[tuple[str | None, str | bool | None]]:
    return [(use.flag.name if use.flag else None, use.value) for use in parse(items, SYNTAX)]


@pytest.mark.parametrize(
    ("items", "flag", "value"),
    [
        (["--max-num-seqs=64"], SEQS, "64"),
        (["--max-num-seqs", "64"], SEQS, "64"),
        (["--max_num_seqs=64"], SEQS, "64"),
        (["--max-num-seq", "1024"], SEQS, "1024"),  # argparse takes a unique prefix
        (["--device-memory-utilization=0.9"], MEMORY, "0.9"),
        (["-tp", "2"], TP, "2"),
        (["-tp=2"], TP, "2"),
        (["-O3"], LEVEL, "3"),
        (["-O=3"], LEVEL, "3"),
        (["-O", "3"], LEVEL, "3"),
        (["--max-model-len", "-1"], LENGTH, "-1"),  # a negative number is a value
        (["--max-model-len=--odd"], LENGTH, "--odd"),
        (["--max-model-len="], LENGTH, ""),
        (["--enforce-eager"], EAGER, True),
        (["--enforce-eager=false"], EAGER, "false"),  # argparse refuses it: whoever checks has to see it
        (["--enforce-eager", "False"], EAGER, "False"),
        (["--no-enable-prefix-caching"], PREFIX, False),
        (["--no_enable_prefix_caching"], PREFIX, False),
        (["--no-enable-pre"], PREFIX, False),
        (["--speculative-config", '{"method": "ngram", "x": "a=b"}'], SPEC, '{"method": "ngram", "x": "a=b"}'),
        (['--speculative-config={"method":"ngram"}'], SPEC, '{"method":"ngram"}'),
        (["--speculative-config.method", "ngram"], SPEC, "ngram"),
        (["--speculative_config.num_speculative_tokens=3"], SPEC, "3"),
        (["-sc.method", "ngram"], SPEC, "ngram"),
        (["--served-model-name", "a", "b"], SERVED, "a b"),
        (["--max-num-seqs=$$(NOT_A_REFERENCE)"], SEQS, "$(NOT_A_REFERENCE)"),
        (["--max-num-seqs=$(SEQS)"], SEQS, "$(SEQS)"),
    ],
)
def test_reads_every_spelling_of_a_flag(items: list[str], flag: object, value: object) -> None:
    (use,) = parse(items, SYNTAX)
    assert (use.flag, use.value, use.index, use.span) == (flag, value, 0, len(items))


def test_dotted_keys_keep_their_name_and_underscores_after_the_dot() -> None:
    (use,) = parse(["--speculative_config.num_speculative_tokens=3"], SYNTAX)
    assert use.name == "speculative-config.num_speculative_tokens"


def test_positional_items_are_passed_over() -> None:
    assert read("serve", "some/model", "--max-num-seqs", "8", "--enforce-eager", "other") == [
        ("max-num-seqs", "8"),
        ("enforce-eager", True),
    ]


def test_what_follows_two_dashes_is_no_flag() -> None:
    assert read("--enforce-eager", "--", "--max-num-seqs=8") == [("enforce-eager", True)]


def test_an_ambiguous_prefix_is_unknown() -> None:
    assert read("--max-num=8") == [(None, "8")]


def test_a_missing_value_is_none() -> None:
    assert read("--max-num-seqs", "--enforce-eager", "--max-model-len") == [
        ("max-num-seqs", None),
        ("enforce-eager", True),
        ("max-model-len", None),
    ]


def test_an_unknown_flag_is_kept_with_the_item_after_it() -> None:
    (use,) = parse(["--swap-space", "16"], SYNTAX)
    assert (use.flag, use.name, use.value, use.span) == (None, "swap-space", "16", 2)


def test_words_before_the_start_are_not_flags() -> None:
    (use,) = parse(["python3", "-m", "module", "--max-num-seqs=8"], SYNTAX, start=3)
    assert (use.name, use.index) == ("max-num-seqs", 3)


def test_references_are_told_from_escaped_ones() -> None:
    assert references("/models/$(DIR)/$(NAME)") == ("DIR", "NAME")
    assert references("$$(DIR) $X ${Y} $$$(Z)") == ("Z",)


@given(st.text(alphabet="$()Aa{}=", max_size=12))
def test_escaping_gives_the_engine_exactly_the_text(text: str) -> None:
    assert references(escape(text)) == ()
    assert unescape(escape(text)) == text


_PARSER = argparse.ArgumentParser(add_help=False, exit_on_error=False)
_PARSER.add_argument("--max-num-seqs")
_PARSER.add_argument("--max-model-len")
_PARSER.add_argument("--tensor-parallel-size", "-tp")
_PARSER.add_argument("--enforce-eager", action="store_true", default=None)
_PARSER.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
_PARSER.add_argument("words", nargs="*")
_VALUES = st.sampled_from(["1", "-1", "0.5", "a b", '{"k": 1}', "x=y", ""])
_ITEMS = st.one_of(
    st.tuples(st.sampled_from(["--max-num-seqs", "--max-num-s", "--max-model-len", "--max-mo", "-tp"]), _VALUES),
    st.tuples(
        st.builds("{}={}".format, st.sampled_from(["--max-num-seqs", "--max-mode", "--tensor-parallel-size"]), _VALUES)
    ),
    st.tuples(st.sampled_from(["--enforce-eager", "--enforce", "--enable-prefix-caching", "--no-enable-prefix"])),
)


@given(st.lists(_ITEMS, max_size=6))
@settings(max_examples=150, deadline=None)
def test_reads_what_argparse_reads(groups: list[tuple[str, ...]]) -> None:
    items = [item for group in groups for item in group]
    expected = {name: value for name, value in vars(_PARSER.parse_args(items)).items() if name != "words"}
    found: dict[str, object] = dict.fromkeys(expected)
    for use in parse(items, SYNTAX):
        assert use.flag is not None
        found[use.flag.name.replace("-", "_")] = use.value
    assert found == expected
