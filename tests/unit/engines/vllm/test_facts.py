"""What an engine says of itself, in the wordings of several versions (log lines quoted from public logs)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.engines import engine_named

VLLM = engine_named("vllm")

V032 = """\
(APIServer pid=1) INFO 10-06 16:59:40 [utils.py:300] vLLM API server version 0.32.0
(APIServer pid=1) INFO 10-06 16:59:40 [utils.py:253] non-default args: {'model_tag': 'org/m', 'max_num_seqs': 64, 'enable_prefix_caching': False, 'speculative_config': {'method': 'ngram', 'num_speculative_tokens': 4}}
(APIServer pid=1) INFO 10-06 16:59:41 [model.py:1510] Using max model len 131072
(APIServer pid=1) INFO 10-06 16:59:41 [scheduler.py:205] Chunked prefill is enabled with max_num_batched_tokens=8192.
(EngineCore pid=326) INFO 10-06 16:59:50 [core.py:93] Initializing a V1 LLM engine (v0.32.0) with config: model='org/m', speculative_config=SpeculativeConfig(method='ngram', model=None, num_spec_tokens=4), tokenizer='org/m', dtype=torch.bfloat16, max_seq_len=131072, tensor_parallel_size=2, kv_cache_dtype=auto, enable_prefix_caching=False, enable_chunked_prefill=True, compilation_config={'max_seq_len': 1}
(EngineCore pid=326) INFO 10-06 17:00:10 [default_loader.py:484] Loading weights took 0.87 seconds
(EngineCore pid=326) INFO 10-06 17:00:11 [model_runner.py:407] Model loading took 15.0 GiB memory and 5.420225 seconds
(EngineCore pid=326) INFO 10-06 17:00:33 [gpu_worker.py:692] Available KV cache memory: 56.21 GiB
(EngineCore pid=326) INFO 10-06 17:00:33 [kv_cache_utils.py:2464] GPU KV cache size: 460,496 tokens, Maximum concurrency for 131,072 tokens per request: 3.51x
(EngineCore pid=326) INFO 10-06 17:00:41 [gpu_worker.py:955] Free memory on device (78.84/79.25 GiB) on startup. Desired GPU memory utilization is (0.92, 72.91 GiB). Actual usage is 15.26 GiB for consumed memory (weights + non-torch), 1.44 GiB for peak activation, and 0.23 GiB for CUDAGraph memory.
(APIServer pid=1) INFO:     Application startup complete.
(APIServer pid=1) INFO 10-06 17:05:41 [loggers.py:1] Engine 000: Avg prompt throughput: 0.0 tokens/s
"""  # noqa: E501

V011 = """\
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:34 [kv_cache_utils.py:864] GPU KV cache size: 451,744 tokens
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:34 [kv_cache_utils.py:868] Maximum concurrency for 4,096 tokens per request: 110.29x
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:39 [gpu_worker.py:391] Free memory on device (78.66/79.19 GiB) on startup. Desired GPU memory utilization is (0.9, 71.27 GiB). Actual usage is 14.08 GiB for weight, 1.97 GiB for peak activation, 0.07 GiB for non-torch memory, and 0.67 GiB for CUDAGraph memory.
"""  # noqa: E501

V07 = """\
INFO 03-01 10:30:57 worker.py:267] the current vLLM instance can use total_gpu_memory (22.06GiB) x gpu_memory_utilization (0.90) = 19.85GiB
INFO 03-01 10:30:57 worker.py:267] model weights take 2.88GiB; non_torch_memory takes 0.05GiB; PyTorch activation peak memory takes 1.40GiB; the rest of the memory reserved for KV Cache is 15.52GiB.
INFO 03-01 10:30:57 executor_base.py:110] # CUDA blocks: 36332, # CPU blocks: 9362
INFO 03-01 10:30:57 executor_base.py:115] Maximum concurrency for 4096 tokens per request: 141.92x
"""  # noqa: E501

CPU = """\
(EngineCore pid=9) INFO 11-22 04:06:00 [cpu_worker.py:260] Auto set (2.07/8.96) GiB for KV cache on node 0, with 2.69 GiB requested memory for the worker. 0.62 GiB memory was consumed by non-kv usages.
(EngineCore pid=9) INFO 11-22 04:06:01 [kv_cache_utils.py:2327] CPU KV cache size: 65,536 tokens, Maximum concurrency for 2,048 tokens per request: 32.00x
"""  # noqa: E501


def test_a_recent_log_tells_settings_memory_and_time() -> None:
    facts = VLLM.facts(V032, "")
    assert facts == EngineFacts(
        engine="vllm",
        version="0.32.0",
        model="org/m",
        settings={
            "max_num_seqs": 64,
            "max_num_batched_tokens": 8192,
            "max_model_len": 131072,
            "enable_prefix_caching": False,
            "enable_chunked_prefill": True,
            "kv_cache_dtype": "auto",
            "tensor_parallel_size": 2,
            "gpu_memory_utilization": 0.92,
            "speculative_method": "ngram",
            "num_speculative_tokens": 4,
        },
        kv_cache_tokens=460496,
        weights_gib=15.0,
        activation_gib=1.44,
        non_torch_gib=0.26,
        graphs_gib=0.23,
        kv_cache_gib=56.21,
        total_gib=79.25,
    )


def test_older_wordings() -> None:
    facts = VLLM.facts(V011, "")
    assert (facts.kv_cache_tokens, facts.weights_gib, facts.activation_gib) == (451744, 14.08, 1.97)
    assert (facts.non_torch_gib, facts.graphs_gib, facts.total_gib) == (0.07, 0.67, 79.19)
    old = VLLM.facts(V07, "")
    assert (old.kv_cache_tokens, old.weights_gib, old.kv_cache_gib, old.total_gib) == (36332 * 16, 2.88, 15.52, 22.06)


def test_a_cpu_engine_tells_its_cache() -> None:
    facts = VLLM.facts(CPU, "")
    assert (facts.kv_cache_tokens, facts.kv_cache_gib, facts.total_gib) == (65536, 2.07, 8.96)
    assert facts.settings == {"max_model_len": 2048}


def test_metrics_are_believed_before_the_log() -> None:
    metrics = (
        'vllm:cache_config_info{block_size="128",cache_dtype="fp8",enable_prefix_caching="True",engine="0",'
        'gpu_memory_utilization="0.9",kv_cache_memory_bytes="1073741824",kv_cache_size_tokens="1048576"} 1.0\n'
        'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0\n'
    )
    facts = VLLM.facts(V032, metrics)
    assert facts.kv_cache_tokens == 1048576
    assert facts.settings is not None
    assert facts.settings["enable_prefix_caching"] is True
    assert facts.settings["kv_cache_dtype"] == "fp8"
    assert VLLM.facts("", metrics).kv_cache_gib == 1.0
    assert VLLM.facts("", metrics).model == "tiny"


def test_nothing_said_is_nothing_known() -> None:
    assert VLLM.facts("", "") == EngineFacts(engine="vllm")


@given(st.text() | st.text(alphabet="0123456789.,() GiB'{}:=").map(lambda t: "GPU KV cache size: " + t + " tokens"))
def test_any_log_is_read(text: str) -> None:
    assert VLLM.facts(text, text).engine == "vllm"


def reported(**settings: bool | int | float | str) -> EngineFacts:
    return EngineFacts(engine="vllm", settings=settings)


def test_a_setting_that_did_not_arrive_differs() -> None:
    facts = reported(max_num_seqs=256, gpu_memory_utilization=0.9, enable_prefix_caching=True)
    asked = Candidate.of(max_num_seqs=64, gpu_memory_utilization=0.90, enable_prefix_caching=True, block_size=16)
    assert VLLM.differs(asked, facts) == {"max_num_seqs": (64, 256)}


def test_equal_meanings_do_not_differ() -> None:
    assert VLLM.differs(Candidate.of(kv_cache_dtype="fp8"), reported(kv_cache_dtype="fp8_e4m3")) == {}
    assert VLLM.differs(Candidate.of(kv_cache_dtype="auto"), reported(kv_cache_dtype="fp8")) == {}
    assert VLLM.differs(Candidate.of(kv_cache_dtype="fp8"), reported(kv_cache_dtype="auto")) != {}
    off = Candidate.of(speculative_method="off", num_speculative_tokens=0)
    assert VLLM.differs(off, reported(speculative_method="off", num_speculative_tokens=0)) == {}
    assert VLLM.differs(off, reported(speculative_method="ngram", num_speculative_tokens=3)) != {}


def test_an_engine_that_says_nothing_does_not_differ() -> None:
    assert VLLM.differs(Candidate.of(max_num_seqs=1), EngineFacts(engine="vllm")) == {}
