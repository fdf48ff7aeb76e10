"""What is expected of a trial is what planner and simulator knew before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.search.targets import cpu_target, target, whole_space
from tests.unit.search.test_prediction import expecting
from tests.unit.study.test_confirm import AIM
from tuner.core.knob import Candidate
from tuner.core.target import TargetInfo
from tuner.search import Expecting, Screen, predict
from tuner.simulator.memory import constants_for
from tuner.study import searching
from tuner.study.foresight import Foresight

FEW = Candidate.of(max_num_seqs=8)


def foresight(basis: Expecting | None) -> Foresight:
    return Foresight(basis, searching.screening(whole_space(), target(), None))


def test_it_is_the_prediction_with_margins_as_they_are_shown() -> None:
    predicted, expected = predict(FEW, expecting()), foresight(expecting()).of(FEW)

    assert expected is not None
    assert (expected.value, expected.rate, expected.kv_tokens) == (
        predicted.value, predicted.rate, predicted.kv_tokens,
    )  # fmt: skip
    assert (expected.certain, expected.refusal) == (predicted.certain, None)
    assert expected.margins == {slo: -violation for slo, violation in predicted.margins.items()}
    assert min(expected.margins.values()) >= 0  # room to every bound


def test_a_refusal_is_told_in_the_engines_words() -> None:
    expected = foresight(expecting()).of(Candidate.of(gpu_memory_utilization=0.15))

    assert expected is not None
    assert expected.value is None
    assert "gpu_memory_utilization" in (expected.refusal or "")


def test_an_impossible_promise_is_missed_by_as_much_as_the_scale_has() -> None:
    slos = tuple(replace(slo, bound=slo.bound / 10_000) for slo in expecting().slos)

    expected = foresight(expecting(slos=slos)).of(FEW)

    assert expected is not None
    assert expected.value is None
    assert set(expected.margins.values()) == {-5.0}


@pytest.mark.parametrize("info", [cpu_target(), target(gpu=None), target(model=None)])
def test_nothing_is_expected_where_model_or_gpu_are_not_known(info: TargetInfo) -> None:
    assert foresight(searching.expecting(info, AIM, None)).of(FEW) is None


def test_nothing_is_expected_of_what_nobody_has_modelled() -> None:
    assert foresight(expecting()).of(Candidate.of(kv_cache_dtype="nvfp4")) is None


def test_a_broken_basis_costs_the_expectation_and_no_trial() -> None:
    assert foresight(expecting(workload=None)).of(FEW) is None


def test_it_learns_from_other_starts_and_not_from_the_one_it_is_held_against() -> None:
    screen = Screen(whole_space(), target().model_shape, target().gpu, 1, version="0.30.0")
    made = Foresight(expecting(), screen)
    before = made.of(FEW)
    screen.constants = replace(constants_for("0.30.0"), weights_factor=1.5)

    after, other = made.of(FEW), made.of(Candidate.of(max_num_seqs=9))

    assert before is not None
    assert other is not None
    assert after == before
    assert (other.kv_tokens or 0) < 0.9 * (before.kv_tokens or 0)
