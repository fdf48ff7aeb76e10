"""What mattered among trials: found where it is there, and not made up where it is not."""

from __future__ import annotations

import random
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest

from tuner.core.cause import Cause, Failure
from tuner.core.knob import Value
from tuner.core.measurement import Verdict
from tuner.study.importance import LEAST_TRIALS, importance

Seen = list[tuple[dict[str, Value], Verdict]]


def _trials(count: int, seed: int = 0) -> Seen:
    """`batch` decides the value, `idle` nothing; a twelfth of the trials fails."""
    rng = random.Random(seed)
    found: Seen = []
    for number in range(count):
        settings: dict[str, Value] = {"batch": rng.choice((8, 16, 32, 64, 128)), "idle": rng.random(), "same": 1}
        failed = number % 12 == 11
        failure = Failure(Cause.GPU_OOM_AT_START, "no memory")
        value = float(settings["batch"]) * rng.uniform(0.97, 1.03)
        verdict = Verdict(None, {"failure": 1.0}, failure) if failed else Verdict(value, {"ttft": -0.1})
        found.append((settings, verdict))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_knob_that_decides_stands_out(seed: int) -> None:
    found = importance(_trials(60, seed))
    assert found is not None
    assert set(found.shares) == {"batch"}
    assert list(found.knobs) == ["batch", "idle"]  # what never changed is none of them
    assert 0.5 < found.shares["batch"] <= 1
    assert found.caution == ""


def _noise(count: int, seed: int) -> Seen:
    rng = random.Random(seed)
    return [
        (
            {
                "a": rng.choice((8, 16, 32, 64, 128)),
                "b": rng.choice((1024, 2048, 4096)),
                "c": rng.random(),
                "d": rng.randrange(100),
                "e": rng.choice(("auto", "fp8")),
            },
            Verdict(rng.random()),
        )
        for _ in range(count)
    ]


def test_noise_has_no_share_and_says_so() -> None:
    answers = [importance(_noise(60, seed)) for seed in range(60)]
    quiet = [one for one in answers if one is not None and not one.shares]
    assert len(quiet) >= 52  # one in twenty is let through by the rule itself
    assert {one.caution for one in quiet} == {"No knob stands out among 60 trials."}


def test_few_trials_do_not_make_a_knob_stand_out_by_themselves() -> None:
    answers = [importance(_noise(LEAST_TRIALS + 2, seed)) for seed in range(60)]
    assert sum(bool(one and one.shares) for one in answers) <= 8


def test_too_few_trials_have_no_answer() -> None:
    assert importance(_trials(LEAST_TRIALS - 1)) is None
    assert importance([]) is None


def test_an_optimum_in_the_middle_is_seen() -> None:
    rng = random.Random(3)
    spots = [rng.random() for _ in range(60)]
    found = importance(
        [({"x": x, "idle": rng.random()}, Verdict(1 - abs(x - 0.5) + 0.05 * rng.random())) for x in spots]
    )
    assert found is not None
    assert set(found.shares) == {"x"}
    assert found.shares["x"] > 0.7


def test_the_same_trials_have_the_same_answer_in_any_thread() -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: importance(_trials(60)), range(32)))
    assert all(one == answers[0] for one in answers)


def test_nothing_of_the_process_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def global_state(*_: object, **__: object) -> None:
        raise AssertionError("other threads would see it")

    monkeypatch.setattr(warnings, "catch_warnings", global_state)
    monkeypatch.setattr(optuna.logging, "set_verbosity", global_state)
    assert importance(_trials(60)) is not None


def test_a_thousand_trials_take_no_time_to_speak_of() -> None:
    seen = _noise(1000, 1)
    began = time.process_time()
    importance(seen)
    assert time.process_time() - began < 0.3  # some 15 ms where nothing else runs


def test_choices_and_switches_take_part() -> None:
    seen: Seen = []
    for number in range(40):
        settings: dict[str, Value] = {"dtype": ("auto", "fp8")[number % 2], "cache": number % 4 < 2}
        seen.append((settings, Verdict(100.0 + 50 * (number % 2) + number * 0.01)))
    found = importance(seen)
    assert found is not None
    assert set(found.shares) == {"dtype"}
    assert set(found.knobs) == {"dtype", "cache"}


def test_where_all_trials_are_alike_nothing_mattered() -> None:
    seen: Seen = [({"batch": size}, Verdict(5.0)) for size in range(1, 20)]
    assert importance(seen) is None
