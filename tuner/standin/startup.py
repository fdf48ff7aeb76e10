"""The lines of a start: those of one that goes well, and those of one that fails, with its exit code."""

from __future__ import annotations

import re

from tuner.simulator.settings import DEFAULT_VERSION
from tuner.standin.arguments import Arguments
from tuner.standin.console import CORE, SERVER, Console
from tuner.standin.machine import Machine, StartFailed

#: Never echoed, although vLLM does.
_SECRETS = ("api_key", "hf_token", "ssl_keyfile")


def announce(console: Console, arguments: Arguments) -> None:
    """What the API server says before it reads the model."""
    given = {name: value for name, value in arguments.given.items() if name not in _SECRETS}
    if arguments.model_tag is not None:
        given = {"model_tag": arguments.model_tag, **given}
    console.info(SERVER, "api_server.py:1977", f"vLLM API server version {DEFAULT_VERSION}")
    console.info(SERVER, "utils.py:253", f"non-default args: {given}")


def configured(console: Console, machine: Machine, arguments: Arguments) -> None:
    """What is said once the configuration holds."""
    s = machine.settings
    console.info(SERVER, "model.py:1510", f"Using max model len {s.max_model_len}")
    if s.enable_chunked_prefill:
        text = f"Chunked prefill is enabled with max_num_batched_tokens={s.max_num_batched_tokens}."
        console.info(SERVER, "scheduler.py:205", text)
    speculation = "None"
    if s.speculative_method:
        tokens = s.num_speculative_tokens
        speculation = f"SpeculativeConfig(method='{s.speculative_method}', model=None, num_spec_tokens={tokens})"
    console.info(
        CORE,
        "core.py:93",
        f"Initializing a V1 LLM engine (v{s.version}) with config: model='{arguments.model}', "
        f"speculative_config={speculation}, tokenizer='{arguments.model}', dtype=torch.bfloat16, "
        f"max_seq_len={s.max_model_len}, tensor_parallel_size={s.tensor_parallel_size}, "
        f"enforce_eager={s.enforce_eager}, kv_cache_dtype={s.kv_cache_dtype}, "
        f"served_model_name={arguments.served_names[0]}, enable_prefix_caching={s.enable_prefix_caching}, "
        f"enable_chunked_prefill={s.enable_chunked_prefill}",
    )


def loaded(console: Console, machine: Machine, seconds: float) -> None:
    """What is said once the weights are on the GPU."""
    text = f"Model loading took {machine.memory.weights_gib:.2f} GiB memory and {seconds:.6f} seconds"
    console.info(CORE, "gpu_model_runner.py:4879", text)


def ready(console: Console, machine: Machine, seconds: float) -> None:
    """The memory terms, and all that comes before the server listens."""
    m, s = machine.memory, machine.settings
    tokens = int(m.max_concurrency * s.max_model_len)
    console.info(CORE, "gpu_worker.py:760", f"Available KV cache memory: {m.kv_gib:.2f} GiB")
    console.info(
        CORE,
        "kv_cache_utils.py:2327",
        f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {s.max_model_len:,} tokens per request: "
        f"{m.max_concurrency:.2f}x",
    )
    if not s.enforce_eager:
        text = f"Graph capturing finished in {0.2 * seconds:.0f} secs, took {m.graphs_gib:.2f} GiB"
        console.info(CORE, "gpu_model_runner.py:5900", text)
    console.info(
        CORE,
        "gpu_worker.py:955",
        f"Free memory on device ({m.total_gib - m.context_gib:.2f}/{m.total_gib:.2f} GiB) on startup. Desired GPU "
        f"memory utilization is ({s.gpu_memory_utilization:g}, {m.requested_gib:.2f} GiB). Actual usage is "
        f"{m.weights_gib + m.non_torch_gib:.2f} GiB for consumed memory (weights + non-torch), "
        f"{m.activation_gib:.2f} GiB for peak activation, and {m.graphs_gib:.2f} GiB for CUDAGraph memory.",
    )
    text = f"init engine (profile, create kv cache, warmup model) took {0.5 * seconds:.2f} s"
    console.info(CORE, "core.py:402", text)


def refuse(console: Console, failed: StartFailed) -> int:
    """The last words of a start that failed; returns the exit code."""
    message = failed.failure.message
    if not failed.loaded:
        console.traceback(
            '  File "vllm/entrypoints/openai/api_server.py", line 1, in run_server', *_server_lines(message)
        )
        return 1
    return core_failed(console, message)


def core_failed(console: Console, message: str, *frames: str) -> int:
    """An engine process that ends while it starts: its own traceback, then the server's, which says nothing."""
    lines = [f'  File "vllm/v1/engine/core.py", line 1, in {frame}' for frame in frames]
    text = ["EngineCore failed to start.", "Traceback (most recent call last):", *lines, *message.splitlines()]
    console.error(CORE, "core.py:1510", text)
    console.traceback(
        '  File "vllm/v1/engine/core_client.py", line 1, in __init__',
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}",
    )
    return 1


def _server_lines(message: str) -> list[str]:
    """pydantic's own layout for what its validators refuse."""
    said = re.match(r"(1 validation error for \w+): (\w+): (.*)", message)
    if said:
        return [f"pydantic_core._pydantic_core.ValidationError: {said[1]}", said[2], f"  {said[3]} [type=value_error]"]
    if message.startswith("Value error, "):
        return [
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig",
            f"  {message} [type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]",
        ]
    return message.splitlines()
