from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.probe.queue_driver import QueueDriver
from tuner.core.cause import Cause, TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.measurement import Answer, Level, Measurement
from tuner.core.request import PlannedRequest
from tuner.core.slo import parse_slo
from tuner.core.workload import Count, Lengths, Load, Objective, ObjectiveKind, Workload
from tuner.probe import Job, Limits, measure

JOB = Job(Workload(Lengths(256), Lengths(48)), Objective(), (parse_slo("ttft p95 <= 500ms"),), seed=1)


def job(*slos: str, **changes: object) -> Job:
    parsed = tuple(map(parse_slo, slos)) or JOB.slos
    return replace(JOB, slos=parsed, **changes)  # type: ignore[arg-type]


def rate(measurement: Measurement) -> float:
    """The rate that the value stands for."""
    assert measurement.value is not None
    return measurement.value / 48


def proven(measurement: Measurement) -> float:
    """The rate at which the SLOs were proven."""
    assert measurement.level.answer is Answer.PASS
    assert measurement.level.load.rate is not None
    return measurement.level.load.rate


# Wide enough that the queue does not matter below the highest stable rate: waits grow only beyond it.
KNEE = {"servers": 400, "prefill_s": 0.1, "step_s": 0.002}


@pytest.mark.parametrize("start", [None, 1200.0, 2500.0, 300.0])
async def test_the_capacity_of_a_sharp_knee_is_found_from_any_start(start: float | None) -> None:
    driver = QueueDriver(**KNEE)  # type: ignore[arg-type]
    truth = driver.servers / driver.service_s(48)

    measurement = await measure(driver, job("ttft p95 <= 150ms", "error rate <= 1%", start_rate=start))

    assert rate(measurement) == pytest.approx(truth, rel=0.12)
    assert 0.7 * truth < proven(measurement) < 1.02 * truth
    assert proven(measurement) <= rate(measurement)
    assert len(measurement.levels) <= 14


async def test_a_busy_queue_is_never_credited_with_more_than_it_holds() -> None:
    # M/D/8 with 1.04 s: 5 % wait for more than 0.4 s at 5.15 requests/s (by a simulation of 24,000 requests).
    measurement = await measure(QueueDriver(), job(start_rate=5.0, restart_cv=0.07))

    assert 0.75 * 5.15 < proven(measurement) < 1.05 * 5.15
    assert rate(measurement) == pytest.approx(5.15, rel=0.15)


async def test_two_engines_on_the_same_pattern_compare_better_than_their_absolute_figures() -> None:
    one = await measure(QueueDriver(), job(start_rate=5.0))
    other = await measure(QueueDriver(step_s=0.018), job(start_rate=5.0, seed=2))

    assert one.value is not None
    assert other.value is not None
    # 1.10 by the service times alone.
    assert other.value / one.value == pytest.approx(1.12, abs=0.07)


async def test_a_candidate_below_the_incumbent_is_cut_short() -> None:
    driver = QueueDriver()

    measurement = await measure(driver, job(incumbent_rate=9.0))

    assert len(measurement.levels) == 1
    assert measurement.value is None
    assert measurement.value_high == pytest.approx(9 * 48)
    assert measurement.level.answer is not Answer.PASS
    assert measurement.level.tests[0].violation > 0
    assert measurement.level.requests < 250


async def test_a_candidate_that_holds_the_incumbents_rate_goes_up_from_there() -> None:
    measurement = await measure(QueueDriver(), job(incumbent_rate=3.0))

    rates = [level.load.rate for level in measurement.levels]
    assert rates[0] == 3.0
    assert min(rate for rate in rates if rate is not None) == 3.0
    assert proven(measurement) > 3.0
    assert measurement.value_high is None


async def test_full_searches_on_where_an_incumbent_would_cut_it_short() -> None:
    measurement = await measure(QueueDriver(), job(incumbent_rate=9.0, full=True))

    assert measurement.value is not None
    assert measurement.value_high is None


async def test_promises_that_not_even_one_request_keeps_have_no_capacity() -> None:
    measurement = await measure(QueueDriver(), job("e2e p95 <= 1s", start_rate=4.0))

    assert measurement.value is None
    assert measurement.level.load.concurrency == 1
    assert measurement.level.answer is Answer.FAIL
    assert len(measurement.levels) <= 4


async def test_without_slos_the_capacity_is_what_the_engine_keeps_up_with() -> None:
    driver = QueueDriver()

    measurement = await measure(driver, replace(JOB, slos=(), start_rate=4.0))

    assert rate(measurement) == pytest.approx(driver.servers / driver.service_s(48), rel=0.25)


async def test_requests_that_fail_are_not_served() -> None:
    def two_of_five(planned: PlannedRequest) -> str | None:
        return "http 503: busy" if planned.index % 5 in (1, 3) else None

    limits = Limits(levels=1)
    broken = await measure(QueueDriver(broken=two_of_five), job("ttft p50 <= 500ms", incumbent_rate=3.0, limits=limits))

    assert broken.level.answer is Answer.PASS
    assert broken.value == pytest.approx(0.6 * 3.0 * 48, rel=0.02)


@pytest.mark.parametrize("pattern", range(4))
async def test_a_lax_promise_is_no_credit_for_what_only_waits(pattern: int) -> None:
    driver = QueueDriver()
    most = driver.servers / driver.service_s(48)

    measurement = await measure(driver, job("ttft p95 <= 10s", start_rate=5.0, pattern_seed=pattern))

    assert measurement.value is not None
    assert 0.85 * most < measurement.value / 48 < 1.1 * most


@pytest.mark.parametrize("pattern", [1, 2, 3])
async def test_time_is_kept_for_a_proof_where_the_search_begins_far_too_high(pattern: int) -> None:
    driver = QueueDriver(servers=24)
    truth = driver.servers / driver.service_s(48)

    measurement = await measure(
        driver, job(start_rate=2 * truth, limits=Limits(level_s=15, total_s=70), pattern_seed=pattern)
    )

    assert measurement.probe_s < 75
    assert proven(measurement) < truth
    assert rate(measurement) == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("total_s", range(40, 130, 6))
async def test_what_was_proven_counts_whenever_time_runs_out(total_s: float) -> None:
    measurement = await measure(
        QueueDriver(servers=24), job(start_rate=3.0, limits=Limits(level_s=15, total_s=total_s))
    )

    assert rate(measurement) >= proven(measurement) * (1 - 1e-9)


async def test_errors_count_as_exceedances() -> None:
    def every_tenth(planned: PlannedRequest) -> str | None:
        return "missing tokens" if planned.index % 10 == 3 else None

    measurement = await measure(QueueDriver(broken=every_tenth), job(incumbent_rate=2.0))

    assert measurement.value is None
    assert measurement.level.errors["missing tokens"] >= 2


@pytest.mark.parametrize(
    ("count", "per_request"), [(Count.OUTPUT_TOKENS, 48), (Count.TOTAL_TOKENS, 304), (Count.REQUESTS, 1)]
)
async def test_values_count_what_the_objective_says(count: Count, per_request: int) -> None:
    limits = Limits(levels=1)
    measurement = await measure(QueueDriver(), job(objective=Objective(count=count), incumbent_rate=3.0, limits=limits))

    assert measurement.value == pytest.approx(3.0 * per_request)


async def test_throughput_is_measured_in_a_closed_loop() -> None:
    driver = QueueDriver()
    objective = Objective(ObjectiveKind.THROUGHPUT, concurrency=16)

    measurement = await measure(driver, job("e2e p95 <= 4s", objective=objective))

    assert measurement.level.load == Load(concurrency=16)
    assert measurement.value == pytest.approx(8 / driver.service_s(48) * 48, rel=0.02)
    slow = await measure(driver, job("e2e p95 <= 2s", objective=objective))
    assert slow.value is None


async def test_headroom_is_the_margin_of_the_worst_slo_and_higher_is_better() -> None:
    objective = Objective(ObjectiveKind.HEADROOM, rate=2.0)
    slos = ("ttft p95 <= 500ms", "e2e p95 <= 2s")

    usual = await measure(QueueDriver(), job(*slos, objective=objective))
    quicker = await measure(QueueDriver(step_s=0.01), job(*slos, objective=objective))

    assert usual.value == pytest.approx(1 - 1.04 / 2, abs=0.02)
    assert quicker.value is not None
    assert quicker.value > usual.value
    assert (await measure(QueueDriver(), job(*slos, objective=replace(objective, rate=12.0)))).value is None


async def test_void_levels_are_repeated_once_and_then_fail_the_trial() -> None:
    with pytest.raises(TrialFailed) as foreign:
        await measure(QueueDriver(foreign=3), job(incumbent_rate=3.0))
    with pytest.raises(TrialFailed) as saturated:
        await measure(QueueDriver(late=9), job(incumbent_rate=7.0))

    assert foreign.value.failure.cause is Cause.FOREIGN_TRAFFIC
    assert saturated.value.failure.cause is Cause.PROBE_ERROR
    once = await measure(QueueDriver(late=2), job(incumbent_rate=7.0))
    assert [level.saturated for level in once.levels] == [True, False]
    assert once.deciding == 1


async def test_a_late_probe_is_no_matter_where_it_can_not_have_changed_the_answer() -> None:
    passed = await measure(QueueDriver(late=9), job(incumbent_rate=3.0, limits=Limits(levels=1)))
    failed = await measure(QueueDriver(late=9, lag_s=0.01), job(incumbent_rate=20.0))

    assert passed.level.answer is Answer.PASS
    assert failed.level.answer is not Answer.PASS
    assert not passed.level.saturated
    assert not failed.level.saturated


async def test_an_engine_that_refuses_the_workload_is_a_probe_error_with_its_words() -> None:
    driver = QueueDriver(broken=lambda _: "http 400: maximum context length is 8")

    with pytest.raises(TrialFailed, match="maximum context length is 8") as caught:
        await measure(driver, JOB)

    assert caught.value.failure.cause is Cause.PROBE_ERROR


async def test_levels_are_told_as_they_end_and_end_with_the_deadline() -> None:
    told: list[Level] = []

    async def tell(level: Level) -> None:
        told.append(level)

    left = iter([1000.0] * 6 + [0.0] * 100)
    measurement = await measure(
        QueueDriver(), job(start_rate=3.0, on_level=tell, limits=Limits(left_s=lambda: next(left)))
    )

    assert tuple(told) == measurement.levels
    assert 1 <= len(told) <= 6
    assert measurement.value is not None


async def test_an_objective_without_its_load_is_invalid() -> None:
    for kind in (ObjectiveKind.THROUGHPUT, ObjectiveKind.HEADROOM):
        with pytest.raises(InvalidInput, match=r"objective\."):
            await measure(QueueDriver(), job(objective=Objective(kind)))


async def test_hopeless_levels_end_after_a_fraction_of_their_requests() -> None:
    driver = QueueDriver()

    await measure(driver, job(incumbent_rate=20.0))

    assert len(driver.recorded[-1].records) < 0.2 * len(driver.plans[-1].requests)
