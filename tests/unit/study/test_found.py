"""What a study remembers of its target."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.unit.search.targets import H100, target
from tuner.store import StudyRecord, StudyState
from tuner.study.found import recalled


def begun(**info: Any) -> StudyRecord:
    now = datetime.now(UTC)
    return StudyRecord(1, "s", "t", "f", {}, info, StudyState.SEARCHING, "", None, None, None, now, now)


def test_what_an_engine_said_of_its_hardware_is_remembered_while_it_is_down() -> None:
    down = replace(target(gpu=None), uid="1", image="vllm:1")
    on_cpu = recalled(down, begun(uid="1", image="vllm:1", on_cpu=True, gpu=None, gpu_count=0))
    assert (on_cpu.on_cpu, on_cpu.gpu, on_cpu.gpu_count) == (True, None, 0)
    assert recalled(down, begun(uid="1", image="vllm:1", on_cpu=False, gpu="H100", gpu_count=1)).gpu == H100
    for other in (None, begun(uid="2", image="vllm:1", on_cpu=True), begun(uid="1", image="vllm:2", on_cpu=True)):
        assert recalled(down, other) == down
