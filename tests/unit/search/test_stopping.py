"""When the search ends before its budget."""

from collections.abc import Sequence

from tuner.core.cause import Cause, Failure
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.core.workload import Objective, ObjectiveKind
from tuner.search import unlikely_to_pay

FAILED = Verdict(None, {"failure": 100.0}, Failure(Cause.CRASH_AT_START, "x"))


def history(values: Sequence[float | None], violation: float = 0.5) -> list[tuple[Candidate, Verdict]]:
    """Trials with these values; None: infeasible."""
    return [
        (Candidate.of(a=index), Verdict(v, {"s": -0.1}) if v is not None else Verdict(None, {"s": violation}))
        for index, v in enumerate(values)
    ]


def test_goes_on_while_it_pays() -> None:
    growing = [100 * 1.03**index for index in range(30)]
    assert all(unlikely_to_pay(history(growing[:n]), 0.05, knobs=3) is None for n in range(31))


def test_ends_after_enough_starts_without_progress() -> None:
    told = [unlikely_to_pay(history([100.0, 120.0] + [110.0] * n), 0.05, knobs=3) for n in range(12)]
    assert [reason is None for reason in told] == [True] * 8 + [False] * 4
    assert "last 8 starts" in str(told[-1])
    assert "5%" in str(told[-1])


def test_small_steps_that_add_up_count_as_progress() -> None:
    assert unlikely_to_pay(history([100 + 0.8 * n for n in range(20)]), 0.05, knobs=3) is None
    assert unlikely_to_pay(history([100 + 0.1 * n for n in range(20)]), 0.05, knobs=3) is not None


def test_failures_are_starts_that_brought_nothing() -> None:
    seen = [*history([100.0]), *((Candidate.of(a=n), FAILED) for n in range(8))]
    assert unlikely_to_pay(seen, 0.05, knobs=3) is not None


def test_more_knobs_take_more_patience() -> None:
    seen = history([100.0] * 10)
    assert unlikely_to_pay(seen, 0.05, knobs=2) is not None
    assert unlikely_to_pay(seen, 0.05, knobs=6) is None


def test_knobs_are_counted_by_what_was_turned() -> None:
    fixed = [(Candidate.of(a=n, b=1, c=n % 2), Verdict(5.0, {"s": -0.1})) for n in range(7)]
    assert unlikely_to_pay(fixed, 0.05) is None  # two knobs: 7 starts after the first
    assert unlikely_to_pay([*fixed, fixed[-1]], 0.05) is not None


def test_the_first_feasible_one_is_progress() -> None:
    assert unlikely_to_pay(history([None] * 8 + [10.0]), 0.05, knobs=3) is None


def test_nothing_feasible_gets_twice_the_patience() -> None:
    assert unlikely_to_pay(history([None] * 16), 0.05, knobs=3) is None
    assert "nothing meets the SLOs" in str(unlikely_to_pay(history([None] * 17), 0.05, knobs=3))


def test_coming_nearer_to_the_slos_is_progress() -> None:
    nearer = [(Candidate.of(a=n), Verdict(None, {"s": 5.0 * 0.95**n})) for n in range(30)]
    assert unlikely_to_pay(nearer, 0.05, knobs=3) is None


def test_no_trials_no_reason() -> None:
    assert unlikely_to_pay([], 0.05) is None


def test_progress_in_headroom_is_that_of_the_answer() -> None:
    headroom = Objective(ObjectiveKind.HEADROOM, rate=5.0).merit
    small, large = history([0.01] * 2 + [0.03] * 8), history([0.9] * 2 + [0.92] * 8)
    assert unlikely_to_pay(small, 0.05, 3, headroom) is not None  # three times as much, and 2 % less latency
    assert unlikely_to_pay(large, 0.05, 3, headroom) is None  # 2 % more, and a fifth less latency
    assert unlikely_to_pay(small, 0.05, 3) is None
