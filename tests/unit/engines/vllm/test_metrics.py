"""Prometheus text under our names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.engines import engine_named
from tuner.engines.vllm.metrics import cache_config, samples

VLLM = engine_named("vllm")


def test_counters_are_summed_without_what_clients_gave_up_and_the_largest_gauge_counts() -> None:
    text = """
# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 3.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="m"} 2.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 1.0
vllm:request_success_created{engine="0",finished_reason="stop",model_name="m"} 1.7953e+09
vllm:num_requests_running{engine="0"} 4.0
vllm:num_requests_running{engine="1"} 5.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.5
"""
    found = VLLM.counters(text)
    assert found == {"requests": 5, "running": 9, "kv_usage": 0.5}


def test_older_names_are_understood() -> None:
    text = 'vllm:gpu_cache_usage_perc{model_name="m"} 0.75\nvllm:gpu_prefix_cache_hits_total 12\n'
    assert VLLM.counters(text) == {"kv_usage": 0.75, "prefix_hits": 12}


def test_labels_may_hold_anything() -> None:
    (sample,) = samples('vllm:x{a="br}ace \\"q\\" \\\\ \\n",b="2"} +Inf 1700000000000\n')
    assert sample.labels == {"a": 'br}ace "q" \\ \n', "b": "2"}
    assert VLLM.counters('vllm:num_preemptions_total{a="x"} NaN\n') == {}


def test_the_resolved_cache_configuration_leaves_out_what_is_none() -> None:
    text = 'vllm:cache_config_info{block_size="128",cache_dtype="auto",num_cpu_blocks="None"} 1.0\n'
    assert cache_config(text) == {"block_size": "128", "cache_dtype": "auto"}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert isinstance(VLLM.counters(text), dict)
    assert VLLM.facts("", text).engine == "vllm"
