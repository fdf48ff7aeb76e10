from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuner.core.knob import Candidate
from tuner.core.measurement import Measurement
from tuner.core.request import Driver, LevelPlan, LevelRecords, RequestRecord
from tuner.core.slo import parse_slo
from tuner.core.workload import Lengths, Objective, ObjectiveKind, Part, Workload
from tuner.probe import Job, Limits, measure
from tuner.search import RandomSampler, Screen, load_space
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.simulator.truth import Truth
from tuner.store import Store, TrialKind, TrialRecord
from tuner.study.aim import Aim
from tuner.study.budget import Budget, Ledger
from tuner.study.confirm import Conclusion, Confirmation, Confirming, confirm
from tuner.study.loop import Outcome, TrialLoop
from tuner.study.progress import Event, Note
from tuner.study.session import no_http
from tuner.targets.simulated import SimulatedDriver, SimulatedTarget
from tuner.targets.target import Progress, Running

PAIRS = 2
FEW = Candidate.of(max_num_seqs=16)
MANY = Candidate.of(max_num_seqs=64)
# A closed loop of 64 clients: the quickest measurement, and one that 64 slots serve much better than 16.
AIM = Aim(
    workload=Workload(Lengths(256), Lengths(32)),
    objective=Objective(ObjectiveKind.THROUGHPUT, concurrency=64),
    slos=(parse_slo("error rate <= 1%"),),
    seed=7,
    smallest_gain=0.05,
    restart_cv=0.035,
    limits=Limits(),
    rollout_deadline_s=1800.0,
)


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[TrialLoop]:
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        yield await loop_with(store, FEW)


async def loop_with(store: Store, baseline: Candidate, aim: Aim = AIM, max_model_len: int = 4096) -> TrialLoop:
    model, gpu, fixed = MODELS["Llama-3.1-8B"], GPUS["H100"], {"max_model_len": max_model_len}
    target = SimulatedTarget(model, gpu, baseline=baseline, fixed=fixed, truth=Truth(3))
    await target.acquire("test")
    info = await target.inspect()
    space = load_space("vllm", info, allow_output_change=True)
    study = store.create_study(name="s", spec={}, target=info.name, info={}, now=datetime.now(UTC))
    return TrialLoop(
        study_id=study.id,
        aim=aim,
        info=info,
        ledger=Ledger(Budget(1 + 2 * PAIRS, None, None, PAIRS)),
        store=store,
        target=target,
        connect=no_http,
        space=space,
        screen=Screen(space, model, gpu, 1, fixed),
        sampler=RandomSampler(space, 1),
        observe=lambda _: None,
        clock=lambda: datetime.now(UTC),
    )


async def confirmed(loop: TrialLoop, finalist: Candidate, check_output: bool = False) -> Confirmation:
    await loop.measure_baseline()
    return await Confirming(loop, finalist, check_output).run()


def starts(loop: TrialLoop) -> list[TrialRecord]:
    return [trial for trial in loop.trials if trial.kind is TrialKind.CONFIRM]


async def test_a_much_better_finalist_is_confirmed_on_fresh_starts_of_both(loop: TrialLoop) -> None:
    found = await confirmed(loop, MANY)

    assert found.conclusion is Conclusion.BETTER
    assert found.exportable
    assert found.comparison is not None
    assert found.comparison.low > 0.05
    assert len(starts(loop)) == 2 * PAIRS
    assert sorted(t.candidate.key for t in starts(loop)) == [FEW.key] * PAIRS + [MANY.key] * PAIRS
    assert str(found).startswith("better by ")


async def test_a_finalist_that_is_no_better_changes_nothing(loop: TrialLoop) -> None:
    found = await confirmed(loop, FEW.with_(block_size=32))

    assert found.conclusion is Conclusion.NO_CHANGE
    assert not found.exportable
    assert found.comparison is not None
    assert found.comparison.low < 0.05


async def test_a_finalist_that_breaks_its_slos_is_turned_down_at_once(tmp_path: Path) -> None:
    aim = replace(AIM, slos=(parse_slo("ttft p95 <= 1s"),))  # 64 clients wait for 16 slots longer than that
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, MANY, aim)
        found = await confirmed(loop, Candidate.of(max_num_seqs=2))

        assert found.conclusion is Conclusion.NO_CHANGE
        assert "broke its SLOs" in found.reason
        assert sum(t.candidate == Candidate.of(max_num_seqs=2) for t in starts(loop)) == 1


async def test_a_baseline_that_breaks_its_slos_is_beaten_without_a_percentage(tmp_path: Path) -> None:
    aim = replace(AIM, slos=(parse_slo("ttft p95 <= 1s"),))
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        found = await confirmed(await loop_with(store, Candidate.of(max_num_seqs=2), aim), MANY)

    assert found.conclusion is Conclusion.MEETS
    assert found.comparison is None
    assert found.exportable


async def test_a_finalist_that_changes_what_is_written_is_turned_down(loop: TrialLoop) -> None:
    # fp8 drifts; what the check allows is its own business, so this one corrupts.
    found = await confirmed(loop, MANY.with_(kv_cache_dtype="int8_per_token_head"), check_output=True)

    assert found.conclusion is Conclusion.NO_CHANGE
    assert "changes what the model writes" in found.reason
    assert found.agreement is not None
    assert not found.agreement.ok


async def test_a_killed_confirmation_goes_on_with_the_starts_it_has(loop: TrialLoop) -> None:
    whole = await confirmed(loop, MANY)
    begun = len(starts(loop))

    again = await Confirming(loop, MANY, check_output=False).run()

    assert len(starts(loop)) == begun
    assert again.comparison == whole.comparison


async def test_what_is_held_out_is_for_the_confirmation_alone(loop: TrialLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Part] = []

    async def spy(driver: Driver, job: Job) -> Measurement:
        parts.append(job.workload.part)
        return await measure(driver, job)

    monkeypatch.setattr("tuner.study.loop.measure", spy)
    await confirmed(loop, MANY)
    assert parts == [Part.SEARCH] + [Part.HELD_OUT] * (2 * PAIRS)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (150, "150 prompts are too few to hold some out: the confirmation uses those of the search"),
        (400, "the confirmation uses 200 prompts that the search did not"),
    ],
)
async def test_the_user_is_told_which_prompts_confirm_the_winner(tmp_path: Path, count: int, said: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"prompt {i}", "output_tokens": 8}) + "\n" for i in range(count)))
    told: list[Event] = []
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW, replace(AIM, workload=Workload(prompts_file=str(file))))
        loop.observe = told.append
        await confirmed(loop, MANY)
    assert said in [event.text for event in told if isinstance(event, Note)]


async def test_the_confirmation_ends_with_its_budget(loop: TrialLoop) -> None:
    loop.ledger.budget = replace(loop.ledger.budget, starts=3)

    found = await confirmed(loop, MANY)

    assert found.conclusion is Conclusion.NO_CHANGE
    assert "budget" in found.reason
    assert len(starts(loop)) == 2


async def test_blocks_have_requests_of_their_own_and_both_sides_meet_them(tmp_path: Path) -> None:
    aim = replace(AIM, workload=Workload(Lengths(256, 0.5), Lengths(32)))
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW, aim)
        loop.ledger.budget = Budget(1 + 6, None, None, 4)
        sent = recorded(loop)
        await confirmed(loop, FEW.with_(max_num_seqs=19))  # too small a gain to be clear after one block

    measured = [max(plans, key=lambda plan: len(plan.requests)) for plans in sent]
    lengths = [tuple(request.prompt_tokens for request in plan.requests[:50]) for plan in measured]
    baseline, first, second = {lengths[0]}, {*lengths[1:5]}, {*lengths[5:]}
    assert len(sent) == 1 + 6
    assert [len(one) for one in (baseline, first, second)] == [1, 1, 1]
    assert len(baseline | first | second) == 3


def recorded(loop: TrialLoop) -> list[list[LevelPlan]]:
    """What is sent to each start of the loop's target from now on, level by level, but for soaks."""
    apply, starts = loop.target.apply, []

    async def watched(candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        running = await apply(candidate, deadline_s, progress)
        assert isinstance(running.driver, SimulatedDriver)
        level, plans = running.driver.level, []
        starts.append(plans)

        async def watched_level(plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
            if len({request.prompt_tokens for request in plan.requests}) > 1:
                plans.append(plan)
            return await level(plan, stop)

        running.driver.level = watched_level  # type: ignore[method-assign]
        return running

    loop.target.apply = watched  # type: ignore[method-assign]
    return starts


async def test_a_search_that_could_measure_nothing_is_not_said_to_have_found_nothing(loop: TrialLoop) -> None:
    await loop.measure_baseline()

    found = await confirm(loop, "no time was left")

    assert found.conclusion is Conclusion.NO_CHANGE
    assert found.reason == "the search measured no other configuration: no time was left"
    assert not starts(loop)


async def test_without_anything_better_nothing_is_started(loop: TrialLoop) -> None:
    await loop.measure_baseline()
    await loop.carry_out(await loop.begin(TrialKind.SEARCH, Candidate.of(max_num_seqs=2), "", ticket=None))

    found = await confirm(loop, "3 of 3 engine starts are used")

    assert found.reason == (
        "nothing the search tried was better than the current configuration (3 of 3 engine starts are used)"
    )
    assert not starts(loop)


async def test_a_finalist_that_fails_to_start_is_not_said_to_break_its_promises(loop: TrialLoop) -> None:
    found = await confirmed(loop, MANY.with_(gpu_memory_utilization=0.2))

    assert "the finalist failed on a fresh start: " in found.reason


async def test_what_the_last_whole_look_saw_is_told_where_the_budget_ends(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW)
        loop.ledger.budget = Budget(1 + 6, None, None, 4)
        found = await confirmed(loop, FEW.with_(max_num_seqs=19))  # too small a gain to be clear after two pairs

    assert found.reason == "the budget ended before the confirmation did, after 2 of at most 4 pairs"
    assert found.comparison is not None
    assert len(found.comparison.finalist_values) == 2


async def test_a_soak_takes_no_longer_than_what_the_engine_holds(tmp_path: Path) -> None:
    # 1024 prompts of 4096 tokens and more would take the better part of an hour, and all but some 50 only wait.
    aim = replace(AIM, workload=Workload(Lengths(4096, 0.5), Lengths(1024, 0.5)))
    with Store.open(f"sqlite:///{tmp_path / 't.db'}") as store:
        loop = await loop_with(store, FEW, aim, max_model_len=32768)
        loop.ledger.budget = replace(loop.ledger.budget, starts=3)
        found = await confirmed(loop, Candidate.of(max_num_seqs=1024))

    assert "soak" not in found.reason
    assert all(trial.gpu_s - trial.start_s - trial.probe_s < 300 for trial in starts(loop))


async def test_a_soak_is_not_begun_where_the_study_must_end(loop: TrialLoop) -> None:
    class Ending(Confirming):
        """One whose time is over once the finalist is measured."""

        async def _soak(self, driver: Driver, measured: Outcome) -> dict[str, int] | None:
            self.loop.ledger.budget = replace(self.loop.ledger.budget, until=self.loop.clock())
            return await super()._soak(driver, measured)

    await loop.measure_baseline()
    found = await Ending(loop, MANY, check_output=False).run()

    assert not found.exportable
    assert "failed the soak" not in found.reason
