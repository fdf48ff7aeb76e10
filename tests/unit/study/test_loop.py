"""The loop's own part: what is begun, begun again and left alone, and what it costs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.study.studies import OPTIONS, Studies, failing
from tests.unit.study.studies import Target as Simulated
from tests.unit.study.test_confirm import FEW, MANY, confirmed, loop_with
from tuner.core.cause import Cause
from tuner.core.errors import TunerError
from tuner.core.expected import Expected
from tuner.core.knob import Candidate, Knob, KnobKind
from tuner.core.request import GreedyOutput, LevelPlan, LevelRecords, RequestRecord
from tuner.search import RandomSampler, Space
from tuner.store import Store, StudyState, TrialKind
from tuner.study.budget import killed_starts
from tuner.study.progress import Event, Note
from tuner.study.report import overview, report
from tuner.study.resuming import resume
from tuner.targets.simulated import SimulatedDriver
from tuner.targets.target import Progress, Running, Target


class Uncounted:
    """A driver of an engine that does not show how many requests it served."""

    needs_text = False

    def __init__(self, driver: SimulatedDriver) -> None:
        self._driver = driver

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        return replace(await self._driver.level(plan, stop), foreign=None)

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        return await self._driver.greedy(prompts, max_tokens)

    async def close(self) -> None:
        await self._driver.close()


def blinded(target: Target) -> Target:
    apply = target.apply

    async def blind(candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        running = await apply(candidate, deadline_s, progress)
        assert isinstance(running.driver, SimulatedDriver)
        return replace(running, driver=Uncounted(running.driver))

    target.apply = blind  # type: ignore[method-assign]
    return target


async def test_the_user_is_told_once_that_foreign_traffic_can_not_be_noticed(tmp_path: Path) -> None:
    told: list[Event] = []
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW)
        loop.target, loop.observe = blinded(loop.target), told.append
        await confirmed(loop, MANY)

    notes = [event.text for event in told if isinstance(event, Note)]
    assert [text for text in notes if "foreign traffic" in text] == [
        "the engine shows no count of its requests on /metrics: foreign traffic goes unnoticed"
    ]


def kinds(studies: Studies) -> list[tuple[TrialKind, bool]]:
    return [(trial.kind, trial.verdict is not None) for trial in studies.trials()]


async def test_a_baseline_that_failed_for_infrastructure_is_measured_when_the_study_goes_on(studies: Studies) -> None:
    with pytest.raises(TunerError, match="unschedulable"):
        await studies.run(Simulated(failing(Cause.UNSCHEDULABLE, 1)))
    assert kinds(studies) == [(TrialKind.BASELINE, False)]

    target = Simulated()
    await studies.run(target)

    assert kinds(studies)[1] == (TrialKind.BASELINE, True)
    assert all(measured for _, measured in kinds(studies)[1:])
    shown = report(studies.store.studies()[0], studies.trials())
    assert shown["trials"][2]["against_baseline"] is not None
    assert studies.store.studies()[0].state is StudyState.FINISHED


async def test_a_candidate_that_failed_for_infrastructure_is_run_again(studies: Studies) -> None:
    await studies.run(Simulated(failing(Cause.UNSCHEDULABLE, 2)))

    failed, again = studies.trials(TrialKind.SEARCH)[:2]
    assert (failed.verdict, failed.told) == (None, True)
    assert (again.candidate, again.ticket) == (failed.candidate, failed.ticket)
    assert again.verdict is not None
    assert sum(trial.verdict is not None for trial in studies.trials()) == OPTIONS["starts"]


async def test_a_candidate_that_failed_for_infrastructure_is_run_again_after_a_resume(studies: Studies) -> None:
    with pytest.raises(TunerError, match="image-or-config-error"):
        await studies.run(Simulated(failing(Cause.IMAGE_OR_CONFIG, 2, 3)))
    first = studies.trials(TrialKind.SEARCH)[0]

    await studies.run(Simulated())

    assert [trial.verdict is not None for trial in studies.trials(TrialKind.SEARCH)][:3] == [False, False, True]
    assert {trial.candidate for trial in studies.trials(TrialKind.SEARCH)[:3]} == {first.candidate}


async def test_a_candidate_that_is_too_fast_for_the_probe_is_not_run_again(studies: Studies) -> None:
    await studies.run(Simulated(failing(Cause.PROBE_ERROR, 2)))

    failed, after = studies.trials(TrialKind.SEARCH)[:2]
    assert after.candidate != failed.candidate


async def test_one_hiccup_of_the_infrastructure_costs_a_confirmation_no_answer(studies: Studies) -> None:
    ending = await studies.run(Simulated(failing(Cause.UNSCHEDULABLE, 5)))

    assert [trial.verdict is not None for trial in studies.trials(TrialKind.CONFIRM)].count(False) == 1
    assert ending.confirmation.comparison is not None
    assert "budget" not in ending.confirmation.reason


async def test_the_first_start_leaves_time_to_put_everything_back(studies: Studies) -> None:
    target = Simulated()
    with pytest.raises(TunerError, match="before the current configuration was measured: slow-start"):
        await studies.run(target, until="20s")
    assert target.now() <= 11
    assert kinds(studies) == [(TrialKind.BASELINE, False)]  # too little time says nothing of it


async def test_a_start_ends_in_time_for_the_engine_to_come_back(studies: Studies) -> None:
    target = Simulated()

    async def slow(start: int) -> None:
        if start == 3:
            target.slow_s = 10_000

    target.before = slow
    await studies.run(target, until="20min", starts=30)

    back = studies.trials(TrialKind.BASELINE)[0].start_s
    assert target.deadlines[2] < 1200 - back
    assert target.now() + back <= 1200
    assert studies.trials()[2].verdict is None  # no more time than that says nothing of a candidate
    assert len(target.deadlines) == 3


async def test_nothing_is_begun_after_the_end_that_a_resume_was_given(studies: Studies) -> None:
    await studies.killed(2)
    target = Simulated()

    ending = await studies.run(target, until="1s")

    assert target.deadlines == []
    assert "before" in ending.stopped_because
    assert studies.trials()[-1].recorded is None
    assert not ending.confirmation.exportable


async def test_starts_that_were_killed_are_charged_to_the_search_alone(studies: Studies) -> None:
    await studies.killed(2, starts=9)
    await studies.killed(1, starts=9)
    ending = await studies.run(Simulated(), starts=9)

    assert len(studies.trials(TrialKind.SEARCH)) == 4 - 2
    assert len(studies.trials(TrialKind.CONFIRM)) == 4
    assert overview(ending.study, studies.trials())["starts"] == 9


async def test_a_killed_trial_goes_on_with_its_number_and_is_told_once(studies: Studies) -> None:
    await studies.killed(3)
    begun = studies.trials()[-1]
    assert begun.recorded is None
    await studies.run(Simulated())
    again = studies.trials()[begun.number]
    assert (again.id, again.candidate, again.told) == (begun.id, begun.candidate, True)


async def test_a_trial_that_was_killed_before_its_start_cost_nothing(studies: Studies) -> None:
    await studies.killed(2)
    begun = studies.trials()[-1]
    suggested = replace(begun, phases=begun.phases[:1])
    assert killed_starts(suggested) == []
    assert len(killed_starts(begun)) == 1


async def test_random_search_does_not_suggest_the_baseline_after_a_resume(tmp_path: Path) -> None:
    space = Space((Knob("max_num_seqs", KnobKind.CHOICE, choices=(16, 64)),))
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW)
        loop.space, loop.sampler = space, RandomSampler(space, 1)
        await loop.measure_baseline()

        loop.sampler = RandomSampler(space, 1)
        await resume(loop)

        suggested = [loop.sampler.suggest(), loop.sampler.suggest()]
    assert [one and one.candidate for one in suggested] == [MANY, None]


async def test_every_start_keeps_what_was_expected_of_it_also_one_that_failed(studies: Studies) -> None:
    await studies.run(Simulated(failing(Cause.GPU_OOM_AT_START, 2)))

    started = [trial for trial in studies.trials() if not trial.screened]
    assert started[1].failure is not None
    assert all(trial.expected is not None and trial.expected.value for trial in started)
    first = started[0]
    assert first.expected is not None
    assert first.verdict is not None
    assert first.expected.value == pytest.approx(first.verdict.value, rel=0.5)  # the same thing in the same unit


async def test_what_is_expected_is_worked_out_while_the_engine_starts(tmp_path: Path) -> None:
    asked, starting = threading.Event(), threading.Event()

    async def slow(_: int) -> None:
        starting.set()
        assert await asyncio.to_thread(asked.wait, 10)

    def foresee(_: Candidate) -> Expected:
        assert starting.wait(10)
        asked.set()
        return Expected(1.0)

    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW)
        loop.target, loop.foresee = Simulated(slow), foresee
        await loop.target.acquire("test")
        await loop.measure_baseline()
        assert [trial.expected for trial in store.trials(loop.study_id)] == [Expected(1.0)]


async def test_what_was_expected_is_not_told_to_the_search(studies: Studies, tmp_path: Path) -> None:
    await studies.run(Simulated())
    told = [(trial.candidate, trial.verdict) for trial in studies.trials(TrialKind.SEARCH)]
    (tmp_path / "blind").mkdir()
    blind = Studies(tmp_path / "blind")

    with blind.store, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.study.foresight.Foresight.of", lambda *_: None)
        await blind.run(Simulated())
        assert [(trial.candidate, trial.verdict) for trial in blind.trials(TrialKind.SEARCH)] == told
        assert {trial.expected for trial in blind.trials()} == {None}
