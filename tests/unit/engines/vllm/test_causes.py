"""Every failure that was seen on the real engine, by its own last words, has its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.core.cause import Cause
from tuner.engines import engine_named
from tuner.engines.engine import Exit

VLLM = engine_named("vllm")
ENGINE = "(EngineCore pid=31) ERROR 11-22 04:06:21 [core.py:1510] "
LAST_LINE = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)
STARTED = "(APIServer pid=1) INFO:     Application startup complete.\n"


def crashed(*lines: str) -> str:
    """A start that ended as starts end: the engine's traceback, then the server's own, which says nothing."""
    head = "(APIServer pid=1) INFO 11-22 04:06:00 [utils.py:253] non-default args: {'model_tag': 'm'}\n"
    core = "".join(
        f"{ENGINE}{line}\n" for line in ("EngineCore failed to start.", "Traceback (most recent call last):", *lines)
    )
    server = '(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1)   File "x.py", line 1, in run\n'
    return f"{head}{core}{server}(APIServer pid=1) {LAST_LINE}\n"


KV_SHORT = (
    "ValueError: To serve at least one request with the model's max seq len (8192), (0.12 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (0.06 GiB). Based on the available memory, the estimated "
    "maximum model length is 3968. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
)
KV_SHORT_OTHER = (
    "ValueError: To serve at least one request with the model's max seq len (131072), 9.5 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (6.91 GiB). Based on the available memory, the estimated "
    "maximum model length is 91520."
)
KV_SHORT_OLD = (
    "ValueError: To serve at least one request with the models's max seq len (40960), (10.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (1.25 GiB). Based on the available memory,  Try increasing "
    "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
)


@pytest.mark.parametrize(
    ("line", "overshoot", "hint"),
    [
        (KV_SHORT, 1.0, {"max_model_len": 3968}),
        (KV_SHORT_OTHER, 9.5 / 6.91 - 1, {"max_model_len": 91520}),
        (KV_SHORT_OLD, 7.0, None),
        (
            "ValueError: The model's max seq len (8192) is larger than the maximum number of tokens that can be stored "
            "in KV cache (4096). Try increasing `gpu_memory_utilization`",
            1.0,
            {"max_model_len": 4096},
        ),
    ],
)
def test_a_cache_too_small_says_by_how_much_and_what_would_fit(
    line: str, overshoot: float, hint: dict[str, int] | None
) -> None:
    failure = VLLM.diagnose(crashed(line), Exit(1, "Error"), under_load=False)
    assert failure.cause is Cause.KV_CACHE_TOO_SMALL
    assert failure.overshoot == pytest.approx(overshoot)
    assert failure.hint == hint
    assert "max seq len" in failure.message
    assert "max seq len" in failure.evidence


@pytest.mark.parametrize(
    ("line", "cause", "quoted"),
    [
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
            "initializing the engine.",
            Cause.KV_CACHE_TOO_SMALL,
            "No available memory",
        ),
        (
            "ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve even a single token.",
            Cause.KV_CACHE_TOO_SMALL,
            "auto-fit",
        ),
        (
            "ValueError: Free memory on device cuda:1 (60.33/79.19 GiB) on startup is less than desired GPU memory "
            "utilization (0.95, 75.23 GiB). Decrease GPU memory utilization or reduce GPU memory used by others.",
            Cause.GPU_OOM_AT_START,
            "60.33/79.19",
        ),
        (
            "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try "
            "lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
            Cause.GPU_OOM_AT_START,
            "1024 dummy requests",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.50 GiB.",
            Cause.GPU_OOM_AT_START,
            "3.50 GiB",
        ),
        (
            "ValueError: Available memory on node 0 (8.03/8.96 GiB) on startup is less than desired CPU memory "
            "utilization (0.92, 8.25 GiB).",
            Cause.HOST_OOM,
            "8.03/8.96",
        ),
        (
            "ValueError: Available memory on node 0 (7.95/8.96 GiB) on kv cache allocation is less than requested "
            "memory for kv (40.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE",
            Cause.HOST_OOM,
            "40.0 GiB",
        ),
        (
            "ValueError: Available memory on node 0 (8.03/8.96 GiB) on kv cache allocation is less than requested "
            "memory for kv (-0.17/0.45 GiB). Reduce CPU memory used by other processes.",
            Cause.KV_CACHE_TOO_SMALL,
            "-0.17",
        ),
        (
            "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 7516192768 bytes. Error code 12 (Cannot allocate memory)",
            Cause.HOST_OOM,
            "7516192768",
        ),
        (
            "AssertionError: Error in memory profiling. Initial free memory 70 GiB, current free memory 75 GiB.",
            Cause.EXTERNAL_CHANGE,
            "memory profiling",
        ),
        ("ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).", Cause.BAD_FLAG, "block size for 16"),
        (
            "ImportError: Arctic Inference is required for suffix decoding. Install via `pip install x`.",
            Cause.BAD_FLAG,
            "suffix decoding",
        ),
        ("RuntimeError: Cannot find any model weights with `/models/m`", Cause.IMAGE_OR_CONFIG, "model weights"),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name'",
            Cause.IMAGE_OR_CONFIG,
            "Repo id",
        ),
        ("OSError: [Errno 98] Address already in use", Cause.IMAGE_OR_CONFIG, "Address already in use"),
        ("OSError: [Errno 28] No space left on device: '/models/x'", Cause.IMAGE_OR_CONFIG, "No space left"),
        (
            "requests.exceptions.ConnectionError: (MaxRetryError(HTTPSConnectionPool('huggingface.co', port=443)))",
            Cause.IMAGE_OR_CONFIG,
            "huggingface.co",
        ),
        ("httpx.ConnectError: [Errno -3] Temporary failure in name resolution", Cause.IMAGE_OR_CONFIG, "resolution"),
        (
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the "
            "cached files.",
            Cause.IMAGE_OR_CONFIG,
            "couldn't connect",
        ),
        ("AssertionError: DP adjusted local rank 1 is out of bounds.", Cause.CRASH_AT_START, "local rank 1"),
        ("RuntimeError: something nobody has seen", Cause.CRASH_AT_START, "something nobody has seen"),
    ],
)
def test_the_decisive_line_decides_and_is_quoted(line: str, cause: Cause, quoted: str) -> None:
    failure = VLLM.diagnose(crashed(line), Exit(1, "Error"), under_load=False)
    assert failure.cause is cause
    assert quoted in failure.message
    assert "initialization failed" not in failure.message
    assert quoted in failure.evidence


@pytest.mark.parametrize(
    ("stderr", "quoted"),
    [
        ("vllm: error: unrecognized arguments: --no-such-flag 3", "unrecognized arguments: --no-such-flag 3"),
        ("vllm serve: error: argument --max-num-seqs: invalid int value: 'abc'", "invalid int value: 'abc'"),
        ("api_server.py: error: argument --kv-cache-dtype: invalid choice: 'fp7'", "invalid choice: 'fp7'"),
        ("vllm serve: error: ambiguous option: --max-num could match --max-num-seqs", "ambiguous option"),
    ],
)
def test_a_refused_flag_is_told_in_the_engines_words(stderr: str, quoted: str) -> None:
    failure = VLLM.diagnose(f"usage: vllm serve [model_tag] [options]\n{stderr}\n", Exit(2, "Error"), under_load=False)
    assert failure.cause is Cause.BAD_FLAG
    assert quoted in failure.message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "pydantic_core._pydantic_core.ValidationError: 2 validation errors for SchedulerConfig\nmax_num_seqs\n"
            "  Input should be greater than or equal to 1 [type=greater_than_equal, input_value=0, input_type=int]\n",
            "max_num_seqs: Input should be greater than or equal to 1",
            None,
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig\n"
            "  Value error, max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256). "
            "[type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]\n",
            "max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256).",
            {"max_num_batched_tokens": 256},
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, User-specified max_model_len (65536) is greater than the derived max_model_len "
            "(max_position_embeddings=8192.0 or model_max_length=None in model's config.json).",
            "User-specified max_model_len (65536)",
            {"max_model_len": 8192},
        ),
    ],
)
def test_a_refused_configuration_is_a_bad_flag(text: str, message: str, hint: dict[str, int] | None) -> None:
    prefixed = "".join(f"(APIServer pid=1) {line}\n" for line in text.splitlines())
    for log in (text, prefixed):
        failure = VLLM.diagnose(log, Exit(1, "Error"), under_load=False)
        assert failure.cause is Cause.BAD_FLAG
        assert message in failure.message
        assert failure.hint == hint


def test_an_out_of_memory_error_tells_its_phase() -> None:
    phases = {
        "profile_run": "profiling",
        "capture_model": "CUDA graphs",
        "initialize_kv_cache": "allocating the KV cache",
        "load_model": "loading the weights",
    }
    for frame, words in phases.items():
        line = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
        line += "80.00 GiB of which 400.00 MiB is free."
        log = crashed(f'  File "vllm/v1/worker/gpu_worker.py", line 9, in {frame}', line)
        failure = VLLM.diagnose(log, Exit(1, "Error"), under_load=False)
        assert failure.cause is Cause.GPU_OOM_AT_START
        assert words in failure.message
        assert failure.overshoot == pytest.approx((2.0 - 400 / 1024) / 80)


def test_out_of_memory_after_the_start_is_under_load_whoever_asks() -> None:
    log = STARTED + ENGINE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
    for under_load in (True, False):
        assert VLLM.diagnose(log, Exit(1), under_load).cause is Cause.GPU_OOM_UNDER_LOAD


@pytest.mark.parametrize("code", [0, 1, 137])
def test_oom_killed_is_believed_whatever_the_exit_code(code: int) -> None:
    log = STARTED + "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup\n"
    assert VLLM.diagnose(log, Exit(code, "OOMKilled"), under_load=True).cause is Cause.HOST_OOM


def test_a_killed_engine_process_at_start() -> None:
    log = (
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': -9}"
    )
    assert VLLM.diagnose(log, Exit(1), under_load=False).cause is Cause.HOST_OOM


def test_a_worker_that_died_without_a_word() -> None:
    log = (
        "(EngineCore pid=7) ERROR 11-22 04:06:21 [multiproc_executor.py:1] Worker proc VllmWorker-0 died unexpectedly "
        "(exit code: None), shutting down executor.\nRuntimeError: cancelled\n"
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
    )
    failure = VLLM.diagnose(log, Exit(1, "Error"), under_load=False)
    assert failure.cause is Cause.CRASH_AT_START
    assert "memory" in failure.message


def test_an_engine_killed_while_serving_is_a_crash_even_with_exit_code_0() -> None:
    log = (
        f"{STARTED}[shutdown] MPClient: engine core exited unexpectedly; starting cleanup\n"
        "(APIServer pid=1) ERROR 11-22 04:10:00 [async_llm.py:700] AsyncLLM output_handler failed.\n"
        "(APIServer pid=1) ERROR 11-22 04:10:00 [async_llm.py:700] vllm.v1.engine.exceptions.EngineDeadError: "
        "EngineCore encountered an issue. See stack trace (above) for the root cause.\n"
    )
    failure = VLLM.diagnose(log, Exit(0, "Completed"), under_load=True)
    assert failure.cause is Cause.CRASH_UNDER_LOAD
    assert "engine process died" in failure.message


def test_the_root_of_an_engines_death_is_told_before_the_death() -> None:
    log = (
        f"{STARTED}{ENGINE}EngineCore encountered a fatal error.\n{ENGINE}Traceback (most recent call last):\n"
        f"{ENGINE}RuntimeError: CUDA error: an illegal memory access was encountered\n"
        f"{ENGINE}vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.\n"
    )
    failure = VLLM.diagnose(log, Exit(0), under_load=True)
    assert failure.cause is Cause.CRASH_UNDER_LOAD
    assert "illegal memory access" in failure.message


CLIENTS = (
    "(APIServer pid=1) ERROR 11-22 04:09:00 [serving.py:300] Error in chat completion: this model does not support "
    "tool calls\n"
    "(APIServer pid=1) ERROR 11-22 04:09:00 [serving.py:300] ValueError: This model does not support tool calls\n"
)


@pytest.mark.parametrize("started", [STARTED, ""])  # a long log may have lost its beginning
@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            f"{ENGINE}EngineCore encountered a fatal error.\n{ENGINE}Traceback (most recent call last):\n"
            f"{ENGINE}RuntimeError: CUDA error: an illegal memory access was encountered\n",
            "illegal memory access",
        ),
        ("[shutdown] MPClient: engine core exited unexpectedly; starting cleanup\n", "engine process died"),
    ],
)
def test_what_clients_are_told_is_no_cause_of_a_crash_under_load(started: str, end: str, words: str) -> None:
    failure = VLLM.diagnose(started + CLIENTS + end, Exit(1, "Error"), under_load=True)
    assert failure.cause is Cause.CRASH_UNDER_LOAD
    assert words in failure.message


def test_what_was_said_before_the_engine_served_did_not_end_it() -> None:
    log = f"{ENGINE}MemoryError: a plugin was not loaded\n{STARTED}hello\n"
    assert VLLM.diagnose(log, Exit(1, "Error"), under_load=True).cause is Cause.CRASH_UNDER_LOAD


def test_warnings_are_no_causes() -> None:
    log = (
        "(EngineCore pid=7) WARNING 11-22 04:06:21 [arg_utils.py:1] This model does not officially support disabling "
        "chunked prefill and does not support much else.\n"
        "(EngineCore pid=7) WARNING 08-22 20:20:14 [import_utils.py:408] ModuleNotFoundError: No module named 'x'\n"
    )
    failure = VLLM.diagnose(log, Exit(None), under_load=False)
    assert failure.cause is Cause.UNKNOWN
    assert "ModuleNotFoundError" in failure.evidence


def test_unknown_comes_with_its_evidence_and_without_secrets() -> None:
    failure = VLLM.diagnose("hello\nAuthorization: Bearer abcdefghijkl\nlast words", Exit(None), under_load=False)
    assert failure.cause is Cause.UNKNOWN
    assert "last words" in failure.evidence
    assert "abcdefghijkl" not in failure.evidence


def test_a_quoted_command_line_loses_its_secrets() -> None:
    log = "vllm: error: unrecognized arguments: --nope --api-key my-secret-key\n"
    failure = VLLM.diagnose(log, Exit(2), under_load=False)
    assert "my-secret-key" not in failure.message + failure.evidence


_WORDS = st.sampled_from(
    [
        "ValueError: ", "max seq len (9", "GiB", "Free memory on device (1/2 GiB) on startup is less than desired",
        "\n", "CUDA out of memory", "Tried to allocate 9 GiB",
        "validation error for X", "-9}", "{", "(", "9" * 30, "﷽", "\x00",
    ]
)  # fmt: skip


@given(st.text() | st.lists(_WORDS).map("".join), st.none() | st.integers(-300, 300), st.booleans())
def test_any_log_is_diagnosed_without_raising(log: str, code: int | None, under_load: bool) -> None:
    failure = VLLM.diagnose(log, Exit(code, ""), under_load)
    assert failure.message
    assert len(failure.message) < 600
    assert len(failure.evidence) <= 4000


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (
            "ValueError: Free memory on device (22.65/79.18 GiB) on startup is less than desired GPU memory",
            True,
        ),
        ("ValueError: Free memory on device cuda:0 (1/79 GiB) on startup is less than desired GPU memory", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", False),
    ],
)
def test_memory_that_another_engine_still_held_may_be_free_next_time(line: str, passes: bool) -> None:
    assert VLLM.may_pass(line) is passes


def test_a_log_says_whether_it_is_of_a_cpu() -> None:
    assert VLLM.on_cpu("INFO [__init__.py:220] Automatically detected platform cpu.")
    assert VLLM.on_cpu("with config: model='m', device_config=cpu, structured_outputs_config=...")
    assert not VLLM.on_cpu("INFO [__init__.py:220] Automatically detected platform cuda.")
