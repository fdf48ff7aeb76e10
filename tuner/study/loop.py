"""The trial loop: suggest, screen, apply, wait, warm up, probe, judge, record, tell.

Every phase is on record before it begins, so that a run that was killed anywhere goes on where it was. Our record
commits before the sampler is told; a resume (`resuming`) tells again what was recorded but perhaps not told.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import TunerError
from tuner.core.expected import Expected
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.measurement import Level, Measurement, Verdict
from tuner.core.request import Driver
from tuner.core.target import TargetInfo
from tuner.core.workload import Part
from tuner.engines import engine_named
from tuner.probe import Job, measure
from tuner.search import Space, unlikely_to_pay
from tuner.search.sampler import Sampler
from tuner.search.screen import Screen
from tuner.store import Phase, Store, TrialKind, TrialRecord
from tuner.study.aim import Aim
from tuner.study.budget import Ledger
from tuner.study.foresight import Foresee
from tuner.study.ineffective import ineffective
from tuner.study.judge import judge, judge_failure
from tuner.study.progress import LevelEnded, Note, Observer, PhaseBegan, began, ended
from tuner.study.standing import baseline, incumbent
from tuner.targets.target import Running, Target

# The same infrastructure that failed twice in a row would fail a third time, at the user's cost.
_INFRASTRUCTURE_FAILURES = 2
# Suggestions that the planner turns down cost nothing; this many in a row say that the space holds little else.
_SCREENED_IN_A_ROW = 200


@dataclass
class Outcome:
    """What one trial came to, before it is on record."""

    verdict: Verdict | None = None
    measurement: Measurement | None = None
    expected: Expected | None = None  # by the planner, before the start
    facts: EngineFacts | None = None
    screened: bool = False
    hurried: bool = False  # the study's end gave the start less time than a start may take
    start_s: float = 0.0
    wall_s: float = 0.0
    failure: Failure | None = None


#: What is done with an engine after its measurement, while it still runs.
Then = Callable[[Driver, Outcome], Awaitable[None]]


@dataclass
class TrialLoop:
    """One study's trials on one target. Everything it works with is handed in; it owns only their order."""

    study_id: int
    aim: Aim
    info: TargetInfo
    ledger: Ledger
    store: Store
    target: Target
    connect: Callable[[Running], Driver]
    space: Space
    screen: Screen
    sampler: Sampler
    observe: Observer
    clock: Callable[[], datetime]
    foresee: Foresee = lambda _: None
    trials: list[TrialRecord] = field(default_factory=list)
    _noted: set[str] = field(default_factory=set)
    _infrastructure_failures: int = 0
    _screened: int = 0

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def search(self) -> str:
        """Run trials until there is a reason to stop, and return the reason."""
        await self.measure_baseline()
        await self._go_on()
        if any(trial.kind is TrialKind.CONFIRM for trial in self.trials):
            # What a confirmation has begun to confirm must stay the best of the search.
            return "the search had ended before the study was stopped"
        while (reason := self.reason_to_stop()) is None:
            trial = await self._next()
            if trial is None:
                return "every configuration of the search space has been tried"
            await self.carry_out(trial)
        return reason

    async def measure_baseline(self) -> None:
        """Measure what the target runs today, first of all. Raises TunerError where that can't be done."""
        trial = baseline(self.trials)
        if trial is not None and trial.verdict is not None:
            return
        if (spent := self.ledger.exhausted(self.clock(), 0, full=True)) is not None:
            raise TunerError(f"stopped before the current configuration was measured: {spent}")
        if trial is None or trial.recorded is not None:
            trial = await self.begin(TrialKind.BASELINE, self.info.baseline, "found on the target")
        trial = await self.carry_out(trial)
        if trial.verdict is None:  # nothing can be compared
            raise TunerError(f"stopped before the current configuration was measured: {trial.failure}")

    async def _go_on(self) -> None:
        """Carry out what a killed run began, where there is time: its start was set aside then."""
        last = self._last
        if last is not None and last.recorded is None and self.left_s() > 0:
            self.observe(began(last, self.trials, f"{last.reason}, begun again"))
            await self.carry_out(last)

    async def _next(self) -> TrialRecord | None:
        """The trial to carry out next; None when the space is exhausted.

        A candidate whose last failure was not its own comes before a new one.
        """
        last = self._last
        if last is not None and _is_owed(last):
            return await self.begin(TrialKind.SEARCH, last.candidate, last.reason, ticket=last.ticket)
        found = await asyncio.to_thread(self.sampler.suggest)
        if found is None:
            return None
        return await self.begin(TrialKind.SEARCH, found.candidate, found.reason, ticket=found.ticket)

    async def carry_out(self, trial: TrialRecord, *, block: int | None = None, then: Then | None = None) -> TrialRecord:
        """Screen, start, measure, judge, record and tell one trial.

        `block` is set in a confirmation: a full search for the value. `then` gets the engine while it still runs.
        """
        outcome = await self._screen(trial) or await self._run(trial, block, then)
        trial = await self._record(trial, outcome)
        await self.tell(trial)
        self._watch_infrastructure(trial)
        return trial

    async def _screen(self, trial: TrialRecord) -> Outcome | None:
        if trial.kind is not TrialKind.SEARCH:
            return None
        await self._enter(trial, Phase.SCREENING)
        failure = self.screen.check(trial.candidate)
        self._screened = self._screened + 1 if failure else 0
        return Outcome(failure=failure, screened=True) if failure else None

    async def _run(self, trial: TrialRecord, block: int | None, then: Then | None) -> Outcome:
        before = self.target.now()
        outcome = Outcome()
        try:
            await self._measure(trial, outcome, block, then)
        except TrialFailed as failed:
            outcome.failure = failed.failure
            out_of_time = outcome.hurried and failed.failure.cause is Cause.SLOW_START
            if not (failed.failure.cause.infrastructure or out_of_time):
                outcome.verdict = judge_failure(failed.failure, self.aim.slos)
        outcome.wall_s = self.target.now() - before
        outcome.start_s = outcome.start_s or outcome.wall_s
        return outcome

    async def _measure(self, trial: TrialRecord, outcome: Outcome, block: int | None, then: Then | None) -> None:
        running = await self._start(trial, outcome)
        outcome.start_s, outcome.facts = running.start_s, running.facts
        await self._enter(trial, Phase.WARMING_UP)
        driver = running.driver or self.connect(running)
        try:
            outcome.measurement = await measure(driver, self._job(trial, block))
            if then is not None:
                await then(driver, outcome)
        except TrialFailed as failed:
            raise TrialFailed(await self.target.diagnose(failed.failure)) from failed
        finally:
            await driver.close()
        await self._enter(trial, Phase.JUDGING)
        outcome.verdict = judge(outcome.measurement, self.aim.slos)

    async def _start(self, trial: TrialRecord, outcome: Outcome) -> Running:
        """Start the engine. What is expected of it is worked out meanwhile, and known before anything is measured."""
        await self._enter(trial, Phase.STARTING)
        deadline_s = min(self.aim.rollout_deadline_s, self.left_s())
        outcome.hurried = deadline_s < self.aim.rollout_deadline_s
        foreseeing = asyncio.create_task(asyncio.to_thread(self.foresee, trial.candidate))
        try:
            return await self.target.apply(
                trial.candidate, deadline_s, lambda detail: self._say(trial, Phase.STARTING, detail)
            )
        finally:
            outcome.expected = await foreseeing

    def _job(self, trial: TrialRecord, block: int | None) -> Job:
        rate = _rate(self.incumbent)
        # What a configuration held before is where to look again; what it is worth is measured anew.
        before = next(
            (one for one in reversed(self.trials) if one.candidate == trial.candidate and one.measurement), None
        )
        return Job(
            # What a winner is confirmed on was not searched on, where there are prompts enough for both.
            workload=replace(self.aim.workload, part=Part.SEARCH if block is None else Part.HELD_OUT),
            objective=self.aim.objective,
            slos=self.aim.slos,
            # Every start gets prompts of its own, and gets the same ones again when it is repeated by a resume.
            seed=self.aim.seed * 1_000_003 + trial.number,
            # All trials of the search meet the same bursts and lengths; each block of a confirmation has its own.
            pattern_seed=self.aim.seed + (0 if block is None else 1 + block),
            incumbent_rate=rate if trial.kind is TrialKind.SEARCH else None,
            start_rate=_rate(before) or rate,
            full=trial.kind is not TrialKind.SEARCH,
            restart_cv=self.aim.restart_cv,
            limits=replace(self.aim.limits, left_s=self.left_s if self.ledger.budget.until else None),
            on_level=lambda level: self._keep_level(trial, level),
            on_warm=lambda: self._enter(trial, Phase.PROBING),
        )

    async def _record(self, trial: TrialRecord, outcome: Outcome) -> TrialRecord:
        trial = await asyncio.to_thread(
            self.store.record,
            trial.id,
            verdict=outcome.verdict,
            measurement=outcome.measurement,
            expected=outcome.expected,
            facts=outcome.facts,
            failure=outcome.failure,
            screened=outcome.screened,
            start_s=outcome.start_s,
            probe_s=outcome.measurement.probe_s if outcome.measurement else 0.0,
            gpu_s=outcome.wall_s * self.gpus,
            now=self.clock(),
        )
        self.trials = [one for one in self.trials if one.id != trial.id] + [trial]
        self.ledger.charge_trial(trial, self.gpus)
        if not trial.screened:
            self.learn(trial)
        self.observe(ended(trial, self.trials, self.ledger))
        for knob in self.ineffective:
            self._note_once(f"{knob} is applied but has no effect on this engine: it is not tuned")
        return trial

    def learn(self, trial: TrialRecord) -> None:
        """Let the planner learn from a real start: its log where it came up, what stopped it where it did not."""
        if trial.verdict is not None:
            self.screen.learn(trial.candidate, trial.failure or trial.facts)

    async def tell(self, trial: TrialRecord) -> None:
        """Teach the sampler from our record. Predictions and infrastructure teach nothing."""
        ticket = await self._adopt(trial) if trial.kind is TrialKind.BASELINE else trial.ticket
        if ticket is not None and trial.verdict is not None:
            await asyncio.to_thread(self.sampler.tell, ticket, trial.verdict)
        elif ticket is not None and not _is_owed(trial):
            await asyncio.to_thread(self.sampler.skip, ticket)
        await asyncio.to_thread(self.store.mark_told, trial.id, self.clock())

    async def _adopt(self, baseline: TrialRecord) -> int | None:
        """The sampler learns the baseline with its defaults spelt out, as the engine reported them."""
        if baseline.verdict is None:
            return None
        return await asyncio.to_thread(self.sampler.adopt, self.space.complete(baseline.candidate, baseline.reported))

    # --- beginning and stopping -------------------------------------------------------------------------------------

    async def begin(
        self,
        kind: TrialKind,
        candidate: Candidate,
        reason: str,
        *,
        ticket: int | None = None,
        position: int | None = None,
    ) -> TrialRecord:
        """Put a trial on record before anything is done for it."""
        trial = await asyncio.to_thread(
            self.store.add_trial,
            self.study_id,
            kind=kind,
            candidate=candidate,
            reason=reason,
            ticket=ticket,
            position=position,
            now=self.clock(),
        )
        self.trials.append(trial)
        self.observe(began(trial, self.trials, reason))
        return trial

    def reason_to_stop(self) -> str | None:
        """Why the search should not begin another start; None: it should."""
        if (spent := self.ledger.exhausted(self.clock(), self.ledger.budget.reserved_starts)) is not None:
            return spent
        if self._screened >= _SCREENED_IN_A_ROW:
            return f"the planner turned down {self._screened} suggestions in a row: the rest of the space does not fit"
        seen = [(t.candidate, t.verdict) for t in self.trials if t.verdict is not None]
        return unlikely_to_pay(seen, self.aim.smallest_gain, len(self.space.knobs), self.aim.objective.merit)

    # --- what the trials say so far ---------------------------------------------------------------------------------

    @property
    def baseline(self) -> TrialRecord | None:
        """The baseline's trial, once recorded."""
        return baseline([trial for trial in self.trials if trial.recorded])

    @property
    def incumbent(self) -> TrialRecord | None:
        """The best feasible trial of the search so far, the baseline included."""
        return incumbent(self.trials)

    @property
    def ineffective(self) -> tuple[str, ...]:
        """The knobs that were seen to do nothing on this engine."""
        return ineffective(engine_named(self.info.engine), self.trials)

    @property
    def _last(self) -> TrialRecord | None:
        """The newest trial of the search."""
        return next((one for one in reversed(self.trials) if one.kind is TrialKind.SEARCH), None)

    @property
    def gpus(self) -> int:
        """By how many devices time is counted; a CPU counts as one."""
        return max(1, self.info.gpu_count)

    def left_s(self) -> float:
        """Seconds until everything must be put back; infinity where no end is set."""
        left = self.ledger.left_s(self.clock())
        return math.inf if left is None else left

    # --- telling ----------------------------------------------------------------------------------------------------

    async def _enter(self, trial: TrialRecord, phase: Phase) -> None:
        await asyncio.to_thread(self.store.enter_phase, trial.id, phase, self.clock())
        self._say(trial, phase)

    def _say(self, trial: TrialRecord, phase: Phase, detail: str = "") -> None:
        self.observe(PhaseBegan(trial.number, phase.value, detail))

    async def _keep_level(self, trial: TrialRecord, level: Level) -> None:
        await asyncio.to_thread(self.store.add_level, trial.id, level, self.clock())
        self.observe(LevelEnded(trial.number, level))
        if level.foreign is None:
            self._note_once("the engine shows no count of its requests on /metrics: foreign traffic goes unnoticed")

    def _note_once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self.observe(Note(text))

    def _watch_infrastructure(self, trial: TrialRecord) -> None:
        if trial.screened:
            return
        failure = trial.failure
        if failure is None or not failure.cause.infrastructure:
            self._infrastructure_failures = 0
            return
        self._infrastructure_failures += 1
        self.observe(Note("that does not count against the candidate"))
        if self._infrastructure_failures >= _INFRASTRUCTURE_FAILURES:
            raise TunerError(f"stopped: {failure}")


def _is_owed(trial: TrialRecord) -> bool:
    """Whether a trial of the search should be run again: it failed of what was not its own, and what may pass.

    Where the probe failed, the same engine would be as fast for it again.
    """
    return trial.lost and trial.failure is not None and trial.failure.cause is not Cause.PROBE_ERROR


def _rate(trial: TrialRecord | None) -> float | None:
    return trial.measurement.level.load.rate if trial and trial.measurement else None
