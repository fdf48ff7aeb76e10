from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.podspec.syntax import (
    BATCH,
    CHUNKED,
    DTYPE,
    EAGER,
    LENGTH,
    LEVEL,
    MEMORY,
    PREFIX,
    SEQS,
    SPEC,
    SYNTAX,
    TP,
)
from tuner.core.errors import Refused
from tuner.core.flags import FlagEdit, FlagSpec, FlagSyntax
from tuner.podspec import edit, parse


def edited(args: list[str], *changes: tuple[FlagSpec, str | bool | None]) -> list[str]:
    result = edit({"name": "engine", "args": args}, SYNTAX, [FlagEdit(flag, value) for flag, value in changes])
    return result.get("args", args)


@pytest.mark.parametrize(
    ("before", "flag", "value", "after"),
    [
        # changed in place, spelling and style kept
        (["m", "--max-num-seqs=64", "--port=1"], SEQS, "8", ["m", "--max-num-seqs=8", "--port=1"]),
        (["--max-num-seqs", "64", "--port", "1"], SEQS, "8", ["--max-num-seqs", "8", "--port", "1"]),
        (["--max_num_seqs", "64"], SEQS, "8", ["--max_num_seqs", "8"]),
        (["--max-num-seq", "64"], SEQS, "8", ["--max-num-seq", "8"]),
        (["-tp=2"], TP, "4", ["-tp=4"]),
        (["-O3"], LEVEL, "2", ["-O2"]),
        (["--speculative-config", "{}"], SPEC, '{"a": 1}', ["--speculative-config", '{"a": 1}']),
        # inserted in the style of the list, before what ends the flags
        ([], SEQS, "8", ["--max-num-seqs=8"]),
        (["m", "--port=1"], SEQS, "8", ["m", "--port=1", "--max-num-seqs=8"]),
        (["--port", "1"], SEQS, "8", ["--port", "1", "--max-num-seqs", "8"]),
        (["--port=1", "--max-model-len", "9"], SEQS, "8", ["--port=1", "--max-model-len", "9", "--max-num-seqs", "8"]),
        (["--port", "1", "--", "x"], SEQS, "8", ["--port", "1", "--max-num-seqs", "8", "--", "x"]),
        (["--port", "1"], EAGER, True, ["--port", "1", "--enforce-eager"]),
        (["--port", "1"], PREFIX, False, ["--port", "1", "--no-enable-prefix-caching"]),
        # a value that argparse would take for a flag goes behind "="
        (["--max-model-len", "9"], LENGTH, "-1", ["--max-model-len", "-1"]),
        (["--max-model-len", "9"], LENGTH, "-x", ["--max-model-len=-x"]),
        (["--max-model-len=9"], LENGTH, "$(X)", ["--max-model-len=$$(X)"]),
        # removed, every use of it
        (["m", "--max-num-seqs", "64", "--port=1"], SEQS, None, ["m", "--port=1"]),
        (["--max-num-seqs=1", "m", "--max-num-seqs", "2"], SEQS, None, ["m"]),
        (["--enforce-eager", "m"], EAGER, None, ["m"]),
        (["--enforce-eager", "m"], EAGER, False, ["m"]),  # it has no negation
        (["--port=1"], SEQS, None, ["--port=1"]),
        (["--speculative-config.method", "ngram", "-sc.x=1", "m"], SPEC, None, ["m"]),
        # repeated: the last one counts, so the last one changes
        (["--max-num-seqs=1", "--max-num-seqs=2"], SEQS, "8", ["--max-num-seqs=1", "--max-num-seqs=8"]),
        (["--max-num-seqs=8", "--max-num-seqs=2"], SEQS, "8", ["--max-num-seqs=8", "--max-num-seqs=8"]),
        # dotted keys are merged over the whole value by the engine: a whole value replaces them
        (["--speculative-config.method", "ngram", "m"], SPEC, "{}", ["--speculative-config", "{}", "m"]),
        (
            ["--speculative-config={}", "--speculative-config.method=x", "m"],
            SPEC,
            "{}",
            ["--speculative-config={}", "m"],
        ),
        (["-sc.a=1", "m", "-sc={}", "--port=1", "-sc.b", "2"], SPEC, "[]", ["m", "-sc=[]", "--port=1"]),
        # booleans
        (["--no-enable-prefix-caching", "m"], PREFIX, True, ["--enable-prefix-caching", "m"]),
        (["--enable-prefix-caching", "m"], PREFIX, False, ["--no-enable-prefix-caching", "m"]),
        (["--enable_prefix_caching"], PREFIX, True, ["--enable_prefix_caching"]),
        (["--enforce-eager=false"], EAGER, True, ["--enforce-eager"]),
        (["--enable-prefix-caching", "False", "m"], PREFIX, True, ["--enable-prefix-caching", "m"]),
        (["--enable-chunked-prefill"], CHUNKED, "False", ["--enable-chunked-prefill=False"]),  # old vLLM takes a value
        (["--no-enable-chunked-prefill"], CHUNKED, "True", ["--enable-chunked-prefill=True"]),
        # nothing to do
        (["--max_num_seqs", "64", "--port=1"], SEQS, "64", ["--max_num_seqs", "64", "--port=1"]),
    ],
)
def test_an_edit_changes_its_flag_and_nothing_else(
    before: list[str], flag: FlagSpec, value: str | bool | None, after: list[str]
) -> None:
    assert edited(before, (flag, value)) == after


def test_lists_that_do_not_change_are_not_given() -> None:
    container = {"name": "engine", "command": ["vllm", "serve", "m", "--port=1"], "args": ["--max-num-seqs=2"]}
    assert edit(container, SYNTAX, [FlagEdit(SEQS, "2")]) == {}
    assert edit(container, SYNTAX, [FlagEdit(SEQS, "4")]) == {"args": ["--max-num-seqs=4"]}


def test_flags_in_command_are_edited_there() -> None:
    container = {"command": ["python3", "-m", "vllm.entrypoints.openai.api_server", "--max-num-seqs", "2"]}
    assert edit(container, SYNTAX, [FlagEdit(SEQS, "4"), FlagEdit(TP, "2")]) == {
        "command": [*container["command"][:4], "4", "--tensor-parallel-size", "2"]
    }


def test_a_flag_may_end_command_and_have_its_value_in_args() -> None:
    container = {"command": ["vllm", "serve", "--max-num-seqs"], "args": ["2", "--port=1"]}
    assert edit(container, SYNTAX, [FlagEdit(SEQS, "4")]) == {"args": ["4", "--port=1"]}
    assert edit(container, SYNTAX, [FlagEdit(SEQS, None)]) == {"command": ["vllm", "serve"], "args": ["--port=1"]}


def test_an_interpreter_s_own_options_are_left_alone() -> None:
    container = {"command": ["python3", "-O", "-m", "vllm.entrypoints.openai.api_server"], "args": ["-O", "1"]}
    assert edit(container, SYNTAX, [FlagEdit(LEVEL, None)]) == {"args": []}


def test_a_value_from_the_environment_is_refused_by_name_while_others_stay_editable() -> None:
    args = ["--max-num-seqs=$(SEQS)", "--gpu-memory-utilization", "$(UTIL)", "--port=1"]
    with pytest.raises(Refused, match=r"--max-num-seqs .*\$\(SEQS\); --gpu-memory-utilization .*\$\(UTIL\)"):
        edited(args, (SEQS, "8"), (MEMORY, None), (BATCH, "64"))
    assert edited(args, (BATCH, "64")) == [*args, "--max-num-batched-tokens=64"]


def test_removing_is_refused_where_the_flag_before_would_swallow_the_model() -> None:
    with pytest.raises(Refused, match="served-model-name would take 'model'"):
        edited(["--served-model-name", "a", "--max-num-seqs=2", "model"], (SEQS, None))
    assert edited(["--served-model-name=a", "--max-num-seqs=2", "model"], (SEQS, None)) == [
        "--served-model-name=a",
        "model",
    ]


VALUES = st.one_of(
    st.sampled_from(
        ["1", "256", "0.92", "-1", "auto", "", '{"method": "ngram", "k": [1, 2]}', "a b", "--x", "-", "--"]
    ),
    st.text(alphabet="a0-=_ ${}()\"'.", max_size=8),
)
VALUED = [SEQS, BATCH, LENGTH, MEMORY, DTYPE, TP, SPEC]
BOOLEAN = [EAGER, PREFIX, CHUNKED]
EDITS = st.lists(
    st.one_of(
        st.builds(FlagEdit, st.sampled_from(VALUED), st.one_of(VALUES, st.none())),
        st.builds(FlagEdit, st.sampled_from(BOOLEAN), st.sampled_from([True, False, None])),
    ),
    max_size=5,
    unique_by=lambda change: change.flag,
)
PLAIN = st.sampled_from(["1", "256", "auto", '{"a": 1}', "-1", "x=y"])
GROUPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["model/name", "serve"])),
        st.tuples(st.builds("--{}={}".format, st.sampled_from([flag.name for flag in VALUED]), PLAIN)),
        st.tuples(st.sampled_from([f"--{flag.name}" for flag in VALUED] + ["-tp", "--max_num_seqs"]), PLAIN),
        st.tuples(
            st.sampled_from(["--enforce-eager", "--enable_prefix_caching", "--no-enable-chunked-prefill", "-O3"])
        ),
        st.tuples(st.sampled_from(["--speculative-config.method", "--unknown-flag", "--max-num-seq"]), PLAIN),
    ),
    max_size=8,
)


def flat(groups: list[tuple[str, ...]]) -> list[str]:
    return [item for group in groups for item in group]


@given(GROUPS, st.integers(0, 20), EDITS)
@settings(max_examples=200, deadline=None)
def test_an_edit_reads_back_as_asked_and_leaves_every_other_item(
    groups: list[tuple[str, ...]], cut: int, edits: list[FlagEdit]
) -> None:
    items = flat(groups)
    container: dict[str, Any] = {"command": ["vllm", "serve", *items[:cut]], "args": items[cut:]}
    before = [*container["command"], *container["args"]]
    result = {**container, **edit(container, SYNTAX, edits)}
    after = [*result["command"], *result["args"]]
    uses = parse(after, SYNTAX, 2)
    for change in edits:
        mine = [use.value for use in uses if use.flag == change.flag]
        absent = change.value is None or (change.value is False and change.flag.negation is None)
        assert mine[-1:] == ([] if absent else [change.value])
    touched = {change.flag for change in edits}
    assert others(after, touched) == others(before, touched)


def others(items: list[str], touched: set[FlagSpec]) -> list[str]:
    mine = {
        index
        for use in parse(items, SYNTAX, 2)
        if use.flag in touched
        for index in range(use.index, use.index + use.span)
    }
    return [item for index, item in enumerate(items) if index not in mine]


@given(GROUPS, EDITS)
@settings(max_examples=200, deadline=None)
def test_what_was_inserted_is_removed_without_a_trace(groups: list[tuple[str, ...]], edits: list[FlagEdit]) -> None:
    items = flat(groups)
    used = {use.flag for use in parse(items, SYNTAX)}
    new = [change for change in edits if change.flag not in used]
    there = edited(items, *((change.flag, change.value) for change in new))
    assert edited(there, *((change.flag, None) for change in new)) == items


@given(GROUPS, st.sampled_from(VALUED), PLAIN)
@settings(max_examples=200, deadline=None)
def test_a_value_set_back_restores_the_list(groups: list[tuple[str, ...]], flag: FlagSpec, value: str) -> None:
    items = flat(groups)
    uses = [use for use in parse(items, SYNTAX) if use.flag == flag]
    if not uses or any("." in use.name for use in uses):
        return
    was = uses[-1].value
    assert edited(edited(items, (flag, value)), (flag, was)) == items


def test_dotted_keys_that_are_flags_of_their_own_go_with_the_whole() -> None:
    key = FlagSpec("speculative-config.num-speculative-tokens")
    syntax = FlagSyntax((*SYNTAX.flags, key))
    args = ["--speculative-conf={}", "--speculative_config.num_speculative_tokens=3", "-sc.method", "x", "m"]
    assert [use.flag for use in parse(args, syntax)] == [SPEC, key, SPEC]
    container = {"args": args}
    assert edit(container, syntax, [FlagEdit(SPEC, None)]) == {"args": ["m"]}
    assert edit(container, syntax, [FlagEdit(SPEC, "[]")]) == {"args": ["--speculative-conf=[]", "m"]}
    assert edit(container, syntax, [FlagEdit(key, None)]) == {"args": [args[0], "-sc.method", "x", "m"]}
    assert edit(container, syntax, [FlagEdit(key, "5")]) == {
        "args": [args[0], "--speculative_config.num_speculative_tokens=5", "-sc.method", "x", "m"]
    }


def test_flags_are_told_apart_by_name_alone() -> None:
    assert edited(["-tp=2"], (FlagSpec("tensor-parallel-size"), "4")) == ["-tp=4"]
