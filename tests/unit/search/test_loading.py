"""What is searched on which target, what the user may change, and how mistakes are told."""

from pathlib import Path

import pytest

from tests.unit.search.targets import A100, cpu_target, target, whole_space, write
from tuner.core.errors import InvalidInput
from tuner.core.knob import KnobKind
from tuner.engines import engine_named
from tuner.search import Space, load_space
from tuner.search.document import read_document
from tuner.search.loading import space_file
from tuner.simulator.catalogue import find_gpu


def names(space: Space) -> set[str]:
    return {knob.name for knob in space.knobs}


def reason(space: Space, knob: str) -> str:
    return "; ".join(one.reason for one in space.left_out if one.knob == knob)


def mistakes(*args: object, **kwargs: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        load_space(*args, **kwargs)  # type: ignore[arg-type]
    return "\n".join(caught.value.problems)


def test_only_lossless_knobs_are_searched_unless_more_is_allowed() -> None:
    space = load_space("vllm", target())
    assert names(space) == {
        "max_num_seqs",
        "max_num_batched_tokens",
        "gpu_memory_utilization",
        "enable_prefix_caching",
        "enable_chunked_prefill",
        "block_size",
    }
    assert "did not allow" in reason(space, "kv_cache_dtype")
    assert "real text" in reason(space, "speculative_method")
    assert "only when asked" in reason(space, "tensor_parallel_size")


def test_fp8_cache_needs_a_gpu_that_has_it() -> None:
    assert whole_space().by_name["kv_cache_dtype"].choices == ("auto", "fp8")
    old = whole_space(target(gpu=A100))
    assert "kv_cache_dtype" not in names(old)
    assert "A100-80 has 8.0" in reason(old, "kv_cache_dtype")
    assert whole_space(target(gpu=find_gpu("L4"))).by_name["kv_cache_dtype"].choices == ("auto", "fp8")
    unknown = whole_space(target(gpu=None))
    assert "unknown" in reason(unknown, "kv_cache_dtype")


def test_cpu_has_its_own_ranges() -> None:
    space = load_space("vllm", cpu_target(), allow_output_change=True)
    assert "gpu_memory_utilization" not in names(space)
    assert "VLLM_CPU_KVCACHE_SPACE" in reason(space, "gpu_memory_utilization")
    assert all(int(size) % 32 == 0 for size in space.by_name["block_size"].choices)
    assert (space.by_name["max_num_batched_tokens"].low, space.by_name["max_num_seqs"].high) == (32, 256)
    assert space.by_name["kv_cache_dtype"].choices == ("auto", "fp8")


def test_a_range_of_ones_own_opens_a_knob_that_has_no_use_on_a_cpu_with_a_note() -> None:
    own = {"gpu_memory_utilization": {"low": 0.5, "high": 0.6}}
    space = load_space("vllm", cpu_target(), own)
    knob = space.by_name["gpu_memory_utilization"]
    assert (knob.low, knob.high) == (0.5, 0.6)
    (note,) = space.notes
    assert note.startswith("gpu_memory_utilization: on a CPU the KV cache is sized by VLLM_CPU_KVCACHE_SPACE")
    assert "because you gave it a range" in note
    assert load_space("vllm", target(), own).notes == ()

    usual = load_space("vllm", cpu_target(), {"gpu_memory_utilization": "search"})
    assert "gpu_memory_utilization" not in names(usual)
    assert usual.notes == ()


def test_a_range_of_ones_own_does_not_open_what_a_version_refuses(tmp_path: Path) -> None:
    knob = 'max_num_seqs: {type: int, low: 1, high: 8, if: {cpu: false, version: ">=0.40"}}'
    path = write(tmp_path / "vllm.yaml", f"engine: vllm\nknobs:\n  {knob}\n")
    assert not load_space(path, cpu_target(), {"max_num_seqs": {"low": 2, "high": 4}}).knobs


def test_versions_gate_knobs_and_defaults() -> None:
    assert load_space("vllm", target(version="0.21.3")).defaults["gpu_memory_utilization"] == 0.90
    assert load_space("vllm", target(version="v0.22.0rc1")).defaults["gpu_memory_utilization"] == 0.92
    assert "enable_chunked_prefill" in names(load_space("vllm", target(version=None)))


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("0.6.0", "before 0.8 vLLM splits prompts only with --enable-chunked-prefill, or for contexts over 32768"),
        ("0.8.5", "vLLM 0.8 to 0.11.0 always splits prompts"),
        ("0.11.0", "vLLM 0.8 to 0.11.0 always splits prompts"),
        ("0.11.1", ""),
    ],
)
def test_prompts_are_split_as_the_version_does_it(version: str, why: str) -> None:
    space = load_space("vllm", target(version=version))
    assert reason(space, "enable_chunked_prefill").startswith(why)
    assert ("enable_chunked_prefill" in names(space)) is (why == "")


@pytest.mark.parametrize(
    ("version", "context", "least"), [("0.6.0", 8192, 8192), ("0.6.0", 65536, 512), ("0.8.5", 8192, 512)]
)
def test_a_whole_prompt_must_fit_a_step_where_the_version_does_not_split_it(
    version: str, context: int, least: int
) -> None:
    space = load_space("vllm", target(version=version, max_model_len=context), {"max_num_seqs": 16})
    assert space.at([0.0] * len(space.knobs))["max_num_batched_tokens"] == least
    assert load_space("vllm", target(version=version)).defaults["enable_prefix_caching"] is (version != "0.6.0")


def test_tensor_parallelism_is_searched_when_asked_for() -> None:
    space = load_space("vllm", target(gpu_count=4), {"tensor_parallel_size": "search"})
    assert space.by_name["tensor_parallel_size"].choices == (1, 2, 4)
    assert "there are 4" in reason(space, "tensor_parallel_size")


def test_what_the_target_sets_and_nobody_searches_stays_in_every_candidate() -> None:
    info = target(baseline={"kv_cache_dtype": "fp8", "tensor_parallel_size": 1, "max_num_seqs": 200})
    space = load_space("vllm", info)
    candidate = space.repair({})
    assert candidate["kv_cache_dtype"] == "fp8"
    assert candidate["tensor_parallel_size"] == 1
    assert space.problems(candidate) == []


def test_range_holds_what_the_target_runs_today() -> None:
    space = whole_space(target(baseline={"max_num_seqs": 2048, "kv_cache_dtype": "fp8_e5m2"}))
    assert space.by_name["max_num_seqs"].high == 2048
    assert "fp8_e5m2" in space.by_name["kv_cache_dtype"].choices


def test_user_fixes_narrows_widens_adds_and_drops() -> None:
    edits = {
        "max_num_seqs": 100,
        "max_num_batched_tokens": {"low": 1024, "high": 65536},
        "gpu_memory_utilization": [0.85, 0.9],
        "block_size": "drop",
        "enable_prefix_caching": True,
        "stream_interval": {"type": "int", "low": 1, "high": 8},
    }
    space = load_space("vllm", target(), edits)
    assert space.fixed == {"max_num_seqs": 100, "enable_prefix_caching": True}
    assert (space.by_name["max_num_batched_tokens"].low, space.by_name["max_num_batched_tokens"].high) == (1024, 65536)
    assert space.by_name["gpu_memory_utilization"].choices == (0.85, 0.9)
    assert space.by_name["stream_interval"].kind is KnobKind.INT
    assert reason(space, "block_size") == "you dropped it"
    assert space.repair({"max_num_seqs": 5})["max_num_seqs"] == 100


def test_other_flags_of_the_engine_are_searched_in_the_type_of_their_range() -> None:
    edits = {
        "stream_interval": {"low": 1, "high": 8},
        "kv_offloading_size": {"low": 0.5, "high": 4},
        "ubatch_size": [1, 2],
    }
    more = {"enforce_eager": {"type": "bool"}, "max_model_len": 4096}
    space = load_space("vllm", target(), {**edits, **more}, allow_output_change=True)
    kinds = [str(space.by_name[name].kind) for name in (*edits, "enforce_eager")]
    assert kinds == ["int", "float", "choice", "bool"]
    assert space.fixed["max_model_len"] == 4096


@pytest.mark.parametrize(
    ("knob", "edit", "told"),
    [
        ("nothere", 3, "nothere: unknown knob, vllm has no such flag; allowed: max_num_seqs, "),
        ("stream_interval", "often", "stream_interval: 'often'; --stream-interval must be an integer"),
        ("stream_interval", {"low": 0.5, "high": 2}, "stream_interval: 0.5; --stream-interval must be an integer"),
        ("stream_interval", [1, True], "stream_interval: True; --stream-interval takes a value"),
        ("enforce_eager", 1, "enforce_eager: 1; --enforce-eager takes no value; allowed: true or false"),
        ("dtype", ["auto", "fp4"], "dtype: 'fp4'; --dtype must be one of auto, "),
        ("gpu_memory_utilization", {"high": 1.5}, "gpu_memory_utilization: 1.5; --gpu-memory-utilization must be from"),
        ("swap_space", 4, "swap_space: unknown knob"),
        (
            "stream_interval",
            {"type": ["int"], "low": 1, "high": 8},
            "stream_interval.type: ['int']; allowed: int, float",
        ),
    ],
)
def test_what_the_engines_command_line_does_not_take_is_refused(knob: str, edit: object, told: str) -> None:
    assert f"search.knobs.{told}" in mistakes("vllm", target(), {knob: edit})


@pytest.mark.parametrize(
    ("knob", "edit", "what"),
    [
        ("port", [8000, 8001], "where it listens and who may call it"),
        ("host", "0.0.0.0", "where it listens"),
        ("api_key", "sk-hidden", "where it listens and who may call it"),
        ("model", "other", "which model it serves"),
        ("served_model_name", "alias", "which model it serves"),
        ("seed", {"low": 1, "high": 2}, "which model it serves"),
        ("load_format", "dummy", "where its weights come from"),
        ("log_level", "debug", "what it logs"),
        ("nnodes", 2, "where its processes find each other"),
    ],
)
def test_what_says_what_is_served_and_to_whom_is_no_knob(knob: str, edit: object, what: str) -> None:
    told = mistakes("vllm", target(), {knob: edit})
    assert told.startswith(f"search.knobs.{knob}: says {what}")
    assert "not how fast the engine is; allowed: max_num_seqs, " in told
    assert "sk-hidden" not in told


def test_value_that_leaves_nothing_to_try_is_fixed() -> None:
    space = load_space("vllm", target(), {"max_num_seqs": [64]})
    assert space.fixed["max_num_seqs"] == 64
    assert "only one value" in reason(space, "max_num_seqs")


def test_fixed_speculation_keeps_its_tokens_in_the_search() -> None:
    space = load_space("vllm", target(), {"speculative_method": "ngram"}, real_text=True)
    assert "num_speculative_tokens" in space.repair({})


def test_fixed_speculation_without_a_number_of_tokens_is_refused() -> None:
    told = mistakes("vllm", target(), {"speculative_method": "ngram"})
    assert "search.knobs.speculative_method: 'ngram' needs num_speculative_tokens" in told
    space = load_space("vllm", target(), {"speculative_method": "ngram", "num_speculative_tokens": 3})
    assert space.fixed["num_speculative_tokens"] == 3
    assert load_space("vllm", target(), {"speculative_method": "off"}).fixed["speculative_method"] == "off"


def test_several_mistakes_are_told_together() -> None:
    edits = {
        "max_num_seqs": "many",
        "max_num_batched_tokens": {"low": 9000, "high": 100},
        "max_num_sequences": {"low": 1},
        "enable_prefix_caching": {"low": 0},
        "block_size": True,
        "gpu_memory_utilization": {"low": 0.5, "hi": 0.9},
    }
    told = mistakes("vllm", target(), edits)
    assert "search.knobs.max_num_seqs: 'many'" in told
    assert "search.knobs.max_num_batched_tokens: low 9000 is over high 100" in told
    assert "search.knobs.max_num_sequences: unknown knob, vllm has no such flag; did you mean max_num_seqs" in told
    assert "search.knobs.enable_prefix_caching" in told
    assert "search.knobs.block_size: True" in told
    assert "unknown field hi; allowed: type, low" in told


def test_output_change_is_not_smuggled_in_by_fixing_it() -> None:
    assert "may change the engine's output" in mistakes("vllm", target(), {"kv_cache_dtype": "fp8"})
    space = load_space("vllm", target(), {"kv_cache_dtype": "fp8"}, allow_output_change=True)
    assert space.fixed["kv_cache_dtype"] == "fp8"


def test_what_nobody_knows_to_be_harmless_needs_the_same_permission() -> None:
    assert "quantization: 'fp8' may change the engine's output" in mistakes("vllm", target(), {"quantization": "fp8"})
    ranged = load_space("vllm", target(), {"ubatch_size": [1, 2], "stream_interval": [1, 8], "max_model_len": 4096})
    assert "may change the engine's output" in reason(ranged, "ubatch_size")
    assert "stream_interval" in names(ranged)
    own_word = load_space("vllm", target(), {"ubatch_size": {"choices": [1, 2], "cost": "lossless"}})
    assert "ubatch_size" in names(own_word)


@pytest.mark.parametrize("edits", [{"kv_cache_dtype": "fp8"}, {"quantization": "fp8"}, {"ubatch_size": [1, 2]}])
def test_what_may_change_the_output_is_known_for_knobs_that_are_fixed_or_added_too(edits: dict[str, object]) -> None:
    space = load_space("vllm", target(), edits, allow_output_change=True)
    before = {"max_num_seqs": 64}
    assert space.may_change_output(before, {"max_num_seqs": 64, **edits})
    assert space.may_change_output({**before, **edits}, before)
    assert not space.may_change_output({**before, **edits}, {"max_num_seqs": 128, **edits})


def test_relation_that_nothing_can_keep_is_refused() -> None:
    edits = {"max_num_seqs": 1024, "max_num_batched_tokens": [128, 256]}
    told = mistakes("vllm", target(), edits)
    assert "no candidate can keep 'max_num_batched_tokens >= max_num_seqs' (vLLM refuses to start otherwise, " in told


def test_unknown_engine_names_the_known_ones() -> None:
    assert "allowed: " in mistakes("triton", target())
    assert "vllm" in mistakes("triton", target())


FILE = """\
engine: demo
knobs:
  seqs:
    type: int
    low: 8
    high: 4
  tokens:
    type: integer
  share: {type: float, low: 0.1, high: 0.9, colour: red, if: {gpu: H100}}
  kind: {type: choice, choices: [a, a]}
  late: {type: int, low: 1, high: 2, active: {later: [1]}}
relations:
  - must: seqs = tokens
  - {must: seqs >= 2 when kind is a, because: no}
"""


def test_file_mistakes_come_with_line_field_value_and_what_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.yaml", FILE)
    told = mistakes(path, target())
    assert f"{path}:3: seqs: low 8 is over high 4" in told
    assert f"{path}:7: tokens.type: 'integer'; allowed: int, float, choice, bool" in told
    assert f"{path}:9: knobs.share.colour: unknown field" in told
    assert "unknown gate 'gpu'; allowed: cpu, version, compute_capability, gpus, max_model_len" in told
    assert "kind.choices: ['a', 'a']; a value is listed twice" in told
    assert f"{path}:11: knobs.late.active: 'later'; allowed: a knob declared above" in told
    assert f"{path}:13: relations: 'seqs = tokens' is not a relation; allowed: NAME >= NAME_OR_NUMBER" in told
    assert f"{path}:14: relations.because: unknown field" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("engine: [", ":1: "),
        ("engine: x\nengine: y\n", ":2: "),
        ("- a\n", "must be a mapping"),
        ("engine: x\nlossless: seed\n", ":2: lossless: 'seed'; allowed: a list of settings"),
        ("engine: x\nknobs: {}\n", ":2: knobs: {}"),
        ("knobs: {a: {type: bool}}\n", "engine: None"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in mistakes(write(tmp_path / "x.yaml", text), target())


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    text = "engine: demo\nknobs:\n  mode: {type: choice, choices: [on, off, 017]}\n"
    space = load_space(write(tmp_path / "demo.yaml", text), target())
    assert space.by_name["mode"].choices == ("on", "off", 17)


def test_every_knob_of_the_search_space_is_a_matter_of_speed() -> None:
    vllm = engine_named("vllm")
    declared = read_document(space_file("vllm"))
    names = {knob.name for knob in declared.knobs} | declared.lossless
    assert not [name for name in names & {*vllm.settings()} if vllm.service(name) is not None]
