"""The metrics of engines, told by their names."""

from __future__ import annotations

import pytest

from tuner.engines.metrics import counters

SGLANG = """
sglang:num_running_reqs{dp_rank="0",model_name="m",tp_rank="0"} 4.0
sglang:num_running_reqs{dp_rank="0",model_name="m",tp_rank="1"} 4.0
sglang:num_running_reqs{dp_rank="1",model_name="m",tp_rank="0"} 3.0
sglang:num_queue_reqs{dp_rank="0",model_name="m",tp_rank="0"} 2.0
sglang:token_usage{dp_rank="0",model_name="m",tp_rank="0"} 0.5
sglang:token_usage{dp_rank="1",model_name="m",tp_rank="0"} 0.25
sglang:cache_hit_rate{dp_rank="0",model_name="m",tp_rank="0"} 0.0
sglang:spec_accept_rate{dp_rank="0",model_name="m",tp_rank="0"} 0.0
sglang:spec_accept_length{dp_rank="0",model_name="m",tp_rank="0"} 0.0
sglang:prompt_tokens_total{is_streaming="true",model_name="m"} 90.0
sglang:prompt_tokens_total{is_streaming="false",model_name="m"} 10.0
sglang:cached_tokens_total{cache_source="device",model_name="m"} 30.0
sglang:cached_tokens_total{cache_source="host",model_name="m"} 10.0
sglang:num_requests_total{is_streaming="true",model_name="m"} 5.0
"""
TENSORRT_LLM = """
trtllm_num_requests_running{engine_type="trtllm",model_name="m"} 7.0
trtllm_num_requests_waiting{engine_type="trtllm",model_name="m"} 1.0
trtllm_kv_cache_utilization{engine_type="trtllm",model_name="m"} 0.75
trtllm_spec_decode_acceptance_length{engine_type="trtllm",model_name="m"} 2.5
trtllm_request_success_total{engine_type="trtllm",finished_reason="length",model_name="m"} 3.0
"""


def test_the_ranks_of_one_model_are_not_counted_twice_but_replicas_are_summed() -> None:
    found = counters(SGLANG)

    assert (found["running"], found["waiting"], found["kv_usage"]) == (7, 2, 0.5)
    assert (found["prompt_tokens"], found["prefix_queries"], found["prefix_hits"]) == (100, 100, 40)


def test_speculation_that_is_off_is_not_shown_as_useless() -> None:
    assert not {"acceptance", "accepted_length"} & set(counters(SGLANG))
    assert counters(TENSORRT_LLM)["accepted_length"] == 2.5


def test_tensorrt_llm_shows_what_it_has() -> None:
    found = counters(TENSORRT_LLM)

    assert (found["running"], found["waiting"], found["kv_usage"]) == (7, 1, 0.75)
    assert "requests" not in found


def test_vllm_is_told_by_its_names() -> None:
    assert counters('vllm:spec_decode_num_drafts_total{engine="0"} 8.0\n') == {"drafts": 8}


@pytest.mark.parametrize("text", ["", "[]", '[{"iter": 1}]', "<html>", "python_gc_objects_collected_total 3\n"])
def test_a_page_of_anything_else_says_nothing(text: str) -> None:
    assert counters(text) == {}
