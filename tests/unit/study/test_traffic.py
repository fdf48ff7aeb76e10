"""What requests are like on average, by a study's workload and by an engine's own histograms."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tuner.core.errors import InvalidInput
from tuner.engines.vllm import VLLM
from tuner.store import StudyRecord, StudyState
from tuner.study.spec.workload import WorkloadSpec
from tuner.study.traffic import Traffic, sent, served

# As vLLM 0.32 writes them, of two engine processes.
PAGE = """
# TYPE vllm:request_prompt_tokens histogram
vllm:request_prompt_tokens_bucket{engine="0",le="1.0",model_name="tiny"} 0.0
vllm:request_prompt_tokens_bucket{engine="0",le="+Inf",model_name="tiny"} 300.0
vllm:request_prompt_tokens_count{engine="0",model_name="tiny"} 300.0
vllm:request_prompt_tokens_sum{engine="0",model_name="tiny"} 150000.0
vllm:request_prompt_tokens_count{engine="1",model_name="tiny"} 100.0
vllm:request_prompt_tokens_sum{engine="1",model_name="tiny"} 10000.0
vllm:request_generation_tokens_count{engine="0",model_name="tiny"} 300.0
vllm:request_generation_tokens_sum{engine="0",model_name="tiny"} 30000.0
vllm:request_generation_tokens_sum{engine="1",model_name="tiny"} 2000.0
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 999999.0
"""


def study(**workload: Any) -> StudyRecord:
    now = datetime.now(UTC)
    return StudyRecord(
        1, "s", "ns/llm", "f", {"workload": workload}, {}, StudyState.FINISHED, "", None, None, None, now, now
    )


def test_an_engine_s_histograms_say_what_it_has_served() -> None:
    assert served(VLLM, PAGE) == Traffic(400.0, 80.0, 400)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "vllm:request_prompt_tokens_count 0.0\nvllm:request_prompt_tokens_sum 0.0\n",
        "vllm:prompt_tokens_total 5000.0\nvllm:request_success_total 10.0\n",
        "another:request_prompt_tokens_count 10.0\n",
    ],
)
def test_an_engine_that_served_nothing_or_does_not_tell_has_no_average(page: str) -> None:
    assert served(VLLM, page) is None


def test_a_workload_s_prompts_count_with_what_comes_before_them() -> None:
    lengths = {"prompt": {"mean": 512}, "output": {"mean": 128}}
    assert sent(study(**lengths)) == Traffic(512.0, 128.0)
    assert sent(study(**lengths, shared_prefix=1000, prefix_share=0.5)).prompt_tokens == 1012
    # The second turn of a conversation repeats the first.
    assert sent(study(**lengths, turns=2)) == Traffic(512 + (512 + 128) / 2, 128.0)


def test_a_workload_s_file_is_read_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lengths.csv"
    file.write_text("prompt,output\n100,10\n300,30\n")
    stored = study(lengths=str(file))
    assert sent(stored) == Traffic(200.0, 20.0)
    stored.spec["files"] = WorkloadSpec(lengths=str(file)).files()
    assert sent(stored) == Traffic(200.0, 20.0)
    file.write_text("prompt,output\n100,10\n")
    with pytest.raises(InvalidInput, match=r"workload\.lengths: .*lengths\.csv has changed since it was measured with"):
        sent(stored)
    file.unlink()
    del stored.spec["files"]
    with pytest.raises(InvalidInput, match=r"workload\.lengths.*: can't be read: No such file"):
        sent(stored)
