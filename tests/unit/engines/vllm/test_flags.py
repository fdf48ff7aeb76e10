"""Knobs, as vLLM's command line spells them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.core.errors import InvalidInput
from tuner.core.flags import FlagEdit
from tuner.core.knob import Candidate, Value
from tuner.engines import engine_named
from tuner.engines.vllm import service
from tuner.engines.vllm.options import options, parse_size
from tuner.podspec.edits import edit
from tuner.podspec.flags import parse

VLLM = engine_named("vllm")
SYNTAX = VLLM.syntax()


def read(*items: str) -> tuple[Candidate, dict[str, Value]]:
    return VLLM.read(parse(items, SYNTAX))


def applied(args: list[str], candidate: Candidate, version: str | None = None) -> list[str]:
    baseline, fixed = read(*args)
    edits = VLLM.spell(candidate, baseline, fixed=fixed, version=version)
    return edit({"name": "engine", "args": args}, SYNTAX, edits)["args"]


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="vllm"):
        engine_named("sglang-next")


def test_the_table_is_the_whole_command_line_of_one_version() -> None:
    table = options()
    assert table.version == "0.32.0"
    assert len(table.options) == len({option.name for option in table.options}) == 316
    assert {"max-num-seqs", "tensor-parallel-size", "speculative-config"} <= {o.name for o in table.options}


def test_spellings_of_one_setting_read_alike() -> None:
    long = read("--tensor-parallel-size=2", "--max-num-seqs", "64", "--gpu-memory-utilization=0.9")
    other = read("-tp", "2", "--max_num_seq=64", "--device-memory-utilization", "0.9")
    assert long == other == (Candidate.of(tensor_parallel_size=2, max_num_seqs=64, gpu_memory_utilization=0.9), {})


def test_the_last_use_of_a_flag_wins() -> None:
    assert read("--max-num-seqs=8", "--max-num-seqs=16")[0] == Candidate.of(max_num_seqs=16)
    assert read("--enable-prefix-caching", "--no-enable-prefix-caching")[0] == Candidate.of(enable_prefix_caching=False)


@pytest.mark.parametrize(
    ("text", "number"), [("8k", 8000), ("8K", 8192), ("2M", 2 * 1024**2), ("1.5k", 1500), ("17", 17)]
)
def test_human_readable_integers(text: str, number: int) -> None:
    assert parse_size(text) == number
    assert read(f"--max-num-batched-tokens={text}")[0] == Candidate.of(max_num_batched_tokens=number)


@pytest.mark.parametrize("text", ["1.5K", "k", "", "1e3", "8x", "8 k"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) or "^$"):
        parse_size(text)


def test_planning_settings_are_told_apart_from_knobs_and_secrets_from_both() -> None:
    knobs, fixed = read("--model=m", "--max-model-len=8k", "--api-key", "s3cret", "--max-num-seqs=4", "--enforce-eager")
    assert knobs == Candidate.of(max_num_seqs=4)
    assert fixed == {"model": "m", "max_model_len": 8000, "enforce_eager": True}


def test_old_versions_wrote_booleans_with_a_value_and_leave_out_what_is_off() -> None:
    for text in ("--enable-chunked-prefill=False", "--enable-chunked-prefill=true"):
        assert read(text)[0] == Candidate.of(enable_chunked_prefill=text.endswith("true"))
    wanted = Candidate.of(enable_prefix_caching=False, max_num_seqs=8)
    before = ["--enable-prefix-caching", "--port=1"]
    assert applied(before, wanted, "0.6.0") == ["--port=1", "--max-num-seqs=8"]
    assert applied(before, wanted, "0.8.0") == ["--no-enable-prefix-caching", "--port=1", "--max-num-seqs=8"]


def test_unreadable_values_are_refused_together() -> None:
    with pytest.raises(InvalidInput) as error:
        read("--max-num-seqs=$(SEQS)", "--gpu-memory-utilization=much", "--speculative-config={method:ngram}")
    assert len(error.value.problems) == 3
    assert "$(SEQS)" in error.value.problems[0]


@pytest.mark.parametrize(
    "items",
    [
        ['--speculative-config={"method":"ngram","num_speculative_tokens":4}'],
        ["-sc", '{"method":"ngram","num_speculative_tokens":4}'],
        ["--speculative-config.method=ngram", "--speculative-config.num_speculative_tokens", "4"],
        ["--speculative_config.method=ngram", "--speculative-config.num_speculative_tokens=4"],
        ["--spec-method", "ngram", "--spec-tokens=4"],
        ["--speculative-model=[ngram]", "--num-speculative-tokens=4"],
        ['--speculative-config={"method":"eagle3","num_speculative_tokens":4}', "--speculative-config.method=ngram"],
    ],
)
def test_speculation_is_read_from_every_spelling_and_rewritten_in_one(items: list[str]) -> None:
    knobs, _ = read(*items)
    assert knobs == Candidate.of(speculative_method="ngram", num_speculative_tokens=4)
    after = applied(["m", *items, "--port=80"], knobs.with_(num_speculative_tokens=2))
    assert read(*after)[0] == knobs.with_(num_speculative_tokens=2)
    (config,) = [item for item in after if item.startswith("{") or "={" in item]
    assert json.loads(config[config.index("{") :]) == {"method": "ngram", "num_speculative_tokens": 2}
    assert not [
        item for item in after if item.startswith(("--spec-", "--num-spec")) or "-model" in item or ".m" in item
    ]
    assert "--port=80" in after


@pytest.mark.parametrize(
    "without", [Candidate.of(), Candidate.of(speculative_method="off", num_speculative_tokens=0)], ids=["absent", "off"]
)
def test_no_speculation_leaves_no_flag_behind(without: Candidate) -> None:
    args = ["m", "--spec-method=ngram", "--spec-tokens=3", "--speculative-config.prompt_lookup_max=5"]
    assert applied(args, without) == ["m"]


def test_turning_speculation_on_touches_no_other_flag() -> None:
    edits = VLLM.spell(Candidate.of(speculative_method="ngram", num_speculative_tokens=3), Candidate.of())
    assert [entry.flag.name for entry in edits] == ["speculative-config"]


def test_off_where_nothing_was_on_is_no_change() -> None:
    assert VLLM.spell(Candidate.of(speculative_method="off", num_speculative_tokens=0), Candidate.of()) == []


def test_a_draft_model_stays_when_the_token_count_changes() -> None:
    config = {"method": "eagle3", "model": "org/head", "num_speculative_tokens": 3, "draft_tensor_parallel_size": 1}
    after = applied(
        [f"--speculative-config={json.dumps(config)}"],
        Candidate.of(speculative_method="eagle3", num_speculative_tokens=5),
    )
    assert json.loads(after[0].partition("=")[2]) == config | {"num_speculative_tokens": 5}


def test_a_method_without_its_model_is_refused() -> None:
    with pytest.raises(InvalidInput, match="draft model"):
        VLLM.spell(Candidate.of(speculative_method="eagle3", num_speculative_tokens=3), Candidate.of())


def test_old_versions_get_their_own_flags() -> None:
    after = applied(["m"], Candidate.of(speculative_method="ngram", num_speculative_tokens=3), version="v0.6.0")
    assert {"--speculative-model=[ngram]", "--num-speculative-tokens=3"} <= set(after)


def test_only_differences_are_edited() -> None:
    baseline = Candidate.of(max_num_seqs=64, enable_prefix_caching=True, block_size=16)
    edits = VLLM.spell(Candidate.of(max_num_seqs=64, enable_prefix_caching=False), baseline)
    assert [(e.flag.name, e.value) for e in edits] == [("block-size", None), ("enable-prefix-caching", False)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"no_such_knob": 1}, "no_such_knob"),
        ({"max_num_seqs": "many"}, "integer"),
        ({"max_num_seqs": True}, "takes a value"),
    ],
)
def test_what_vllm_can_not_have_is_refused(values: dict[str, Value], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        VLLM.spell(Candidate.of(values), Candidate.of())


_CANDIDATES = st.fixed_dictionaries(
    {},
    optional={
        "max_num_seqs": st.integers(1, 4096),
        "max_num_batched_tokens": st.integers(1, 65536),
        "gpu_memory_utilization": st.floats(0.1, 1.0, allow_nan=False).map(lambda x: round(x, 4)),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8", "fp8_e5m2"]),
        "block_size": st.sampled_from([16, 32, 64]),
        "enable_prefix_caching": st.booleans(),
        "enable_chunked_prefill": st.booleans(),
        "tensor_parallel_size": st.sampled_from([1, 2, 4]),
    },
)
_SPECULATION = st.one_of(
    st.just({}),
    st.builds(lambda n: {"speculative_method": "ngram", "num_speculative_tokens": n}, st.integers(1, 8)),
)


@given(_CANDIDATES, _CANDIDATES, _SPECULATION, _SPECULATION)
def test_what_is_spelt_reads_back(
    before: dict[str, Value], after: dict[str, Value], spec_before: dict[str, Value], spec_after: dict[str, Value]
) -> None:
    baseline, candidate = Candidate.of(before | spec_before), Candidate.of(after | spec_after)
    start = ["serve", "m", "--port", "8000"]
    args = (
        edit({"name": "e", "args": start}, SYNTAX, VLLM.spell(baseline, Candidate.of()))["args"] if baseline else start
    )
    assert read(*args)[0] == baseline
    edits = VLLM.spell(candidate, baseline)
    args = edit({"name": "e", "args": args}, SYNTAX, edits)["args"] if edits else args
    assert read(*args)[0] == candidate
    assert args[:4] == start


def test_the_port_is_the_last_one_or_the_default() -> None:
    assert VLLM.port(parse(["--port", "30000", "--port=30001"], SYNTAX)) == 30001
    assert VLLM.port(parse(["m", "--data-parallel-rpc-port=1"], SYNTAX)) == 8000
    with pytest.raises(InvalidInput, match="port"):
        VLLM.port(parse(["--port=$(PORT)"], SYNTAX))


def test_edits_name_flags_as_the_grammar_does() -> None:
    known = set(SYNTAX.flags)
    spelt = VLLM.spell(
        Candidate.of(speculative_method="ngram", num_speculative_tokens=1, block_size=16), Candidate.of()
    )
    assert spelt
    assert all(isinstance(e, FlagEdit) and e.flag in known for e in spelt)


@pytest.mark.parametrize(
    ("image", "argv", "owned"),
    [
        ("vllm/vllm-openai:v0.11.0", ["--model", "m"], True),
        ("vllm/vllm-openai:v0.11.0", [], True),
        ("registry.example.com/vllm:0.6.0", ["--model=/models/x"], True),
        ("registry.example.com:5000/team/vllm-cpu@sha256:abc", ["m"], True),
        ("python:3.11", ["/venv/bin/vllm", "serve", "m"], True),
        ("python:3.11", ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"], True),
        ("ubuntu", ["sh", "-c", "exec vllm serve m"], True),
        ("tuner-engine-sim:latest", ["--max-num-seqs=8"], True),
        ("tuner:latest", ["tuner", "engine-sim", "--port=80"], True),
        ("vllm/vllm-openai:v0.11.0", ["huggingface-cli", "download", "m"], False),
        ("vllm/vllm-openai:v0.11.0", ["sh", "-c", "cp -r /a /b"], False),
        ("lmcache/lmstack-router:latest", ["--port=8000"], False),
        ("ghcr.io/x/vllm-router:1", ["--port=8000"], False),
        ("busybox", ["sleep", "1"], False),
        ("nginx", [], False),
    ],
)
def test_servers_are_told_from_what_runs_beside_them(image: str, argv: list[str], owned: bool) -> None:
    assert VLLM.owns(image, argv) is owned


def test_what_is_listed_as_no_matter_of_speed_is_an_option_today() -> None:
    known = {option.name: option.group for option in options().options}
    assert service._OPTIONS.keys() <= known.keys()
    assert service._GROUPS.keys() <= set(known.values())
    assert all(known[name] == "ModelConfig" for name in service._OF_MODEL)


@pytest.mark.parametrize(
    ("image", "env_names", "made"),
    [
        ("vllm/vllm-openai-cpu:v0.32.0", (), True),
        ("cpu.example/vllm-openai:v0.32.0", (), False),
        ("vllm/vllm-openai:v0.32.0", ("VLLM_CPU_KVCACHE_SPACE",), True),
        ("vllm/vllm-openai:v0.32.0", ("VLLM_LOGGING_LEVEL", "CPU"), False),
    ],
)
def test_an_engine_made_for_a_cpu_is_known_by_image_or_environment(
    image: str, env_names: tuple[str, ...], made: bool
) -> None:
    assert VLLM.for_cpu(image, env_names) is made


@pytest.mark.parametrize(
    ("flag", "knobs"),
    [
        ("max-num-seqs", ("max_num_seqs",)),
        ("speculative-config", ("speculative_method", "num_speculative_tokens")),
        ("spec-tokens", ("speculative_method", "num_speculative_tokens")),
        ("no-such-flag", ()),
    ],
)
def test_a_flag_tells_the_knobs_that_it_sets(flag: str, knobs: tuple[str, ...]) -> None:
    assert VLLM.knobs(flag) == knobs
