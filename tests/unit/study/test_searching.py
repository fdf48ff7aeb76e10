"""What a study searches with hangs on what is known of its engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.search.targets import target, whole_space
from tests.unit.study.test_confirm import AIM
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.engines import ENGINES
from tuner.engines.vllm import VLLM
from tuner.search import rank
from tuner.study.searching import expecting, screening

# A share of memory that does not even hold the weights.
HUGE = Candidate.of(gpu_memory_utilization=0.15)


class Other(type(VLLM)):  # type: ignore[misc]
    """An engine that is spelt like vLLM and that nobody has modelled."""

    name = "other"
    simulated = False


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> TargetInfo:
    monkeypatch.setitem(ENGINES, "other", Other())
    return replace(target(), engine="other")


def test_of_an_engine_without_a_simulator_nothing_is_expected(other: TargetInfo) -> None:
    assert expecting(target(), AIM, None) is not None
    assert expecting(other, AIM, None) is None

    first = rank(whole_space(), expecting(other, AIM, None), {})
    assert first
    assert all(one.reason.startswith("rule of the field") for one in first)


def test_an_engine_without_a_simulator_is_screened_by_its_own_starts_alone(other: TargetInfo) -> None:
    assert screening(whole_space(), target(), None).check(HUGE) is not None
    assert screening(whole_space(), other, None).check(HUGE) is None
