"""Confirms a winner: fresh starts of finalist and baseline in random ABBA order, by a rule declared beforehand.

Nothing of the search is used again: the best of many noisy trials looks better than it is. Repeats within one start do
not reduce the noise between starts, so every value here has a start of its own. `gain` has
the rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tuner.core.knob import Candidate
from tuner.core.request import Driver, GreedyOutput
from tuner.core.workload import Part, Workload
from tuner.probe.output_check import MAX_TOKENS, PROMPTS, Agreement, compare
from tuner.probe.soak import soak
from tuner.probe.workload.prompts import part_of, read_prompts
from tuner.store import TrialKind, TrialRecord
from tuner.store.codec import decode, encode
from tuner.study.finalist import finalist
from tuner.study.gain import BLOCK, Block, Comparison, clearly_better, compare_blocks, estimate, hopeless, looks, order
from tuner.study.loop import Outcome, TrialLoop
from tuner.study.progress import Note

_CONCURRENCY = 64  # for the soak, where the engine does not say how many requests it runs at once
_SHORT_S = 5.0  # nothing is learnt in less
_KEPT = "confirming"  # under this name the study's result holds what was inspected so far


class Conclusion(StrEnum):
    """The answer of a study."""

    BETTER = "better"
    MEETS = "meets the SLOs, the current configuration does not"
    NO_CHANGE = "no change"


@dataclass
class Confirmation:
    """What the confirmation concluded, and on what evidence."""

    conclusion: Conclusion
    reason: str
    finalist: Candidate | None = None
    comparison: Comparison | None = None
    agreement: Agreement | None = None

    @property
    def exportable(self) -> bool:
        """Whether there is a winner to export or apply."""
        return self.conclusion is not Conclusion.NO_CHANGE

    def __str__(self) -> str:
        if self.conclusion is Conclusion.BETTER and self.comparison is not None:
            c = self.comparison
            return f"better by {c.gain:.1%} [{c.low:+.1%}, {c.high:+.1%}]"
        return self.conclusion.value

    def to_dict(self) -> dict[str, Any]:
        """For the store and `-o json`."""
        return {
            "conclusion": self.conclusion.value,
            "summary": str(self),
            "exportable": self.exportable,
            "reason": self.reason,
            "finalist": dict(self.finalist) if self.finalist is not None else None,
            "gain": self.comparison.gain if self.comparison else None,
            "interval": [self.comparison.low, self.comparison.high] if self.comparison else None,
            "baseline_values": list(self.comparison.baseline_values) if self.comparison else [],
            "finalist_values": list(self.comparison.finalist_values) if self.comparison else [],
            "token_agreement": self.agreement.share if self.agreement else None,
        }


@dataclass
class Inspected:
    """What was looked at while engines ran; stored as it comes, because a killed confirmation needs it again."""

    outputs: dict[str, tuple[GreedyOutput, ...]] = field(default_factory=dict)  # by side: A baseline, B finalist
    soak_errors: dict[str, int] | None = None  # None: not soaked yet


@dataclass
class Confirming:
    """One confirmation in progress on a loop's target."""

    loop: TrialLoop
    finalist: Candidate
    check_output: bool
    inspected: Inspected = field(default_factory=Inspected)

    async def run(self) -> Confirmation:
        """Start, measure and compare until the rule gives an answer. Takes up a confirmation that was killed."""
        await self._recall()
        if (said := await asyncio.to_thread(_prompts_used, self.loop.aim.workload)) is not None:
            self.loop.observe(Note(said))
        pairs = self.loop.ledger.budget.pairs
        sequence = order(pairs, self.loop.aim.seed)
        trials: list[TrialRecord] = []
        for position, side in enumerate(sequence):
            trial = await self._start(position, side)
            if trial is None:
                return self._unfinished(trials, sequence)
            trials.append(trial)
            if side == "B" and (flaw := self._flaw(trial)) is not None:
                return self._no_change(flaw)
            done, half = divmod(position + 1, 2)
            if not half and done in looks(pairs) and (answer := self._look(trials, sequence, done, pairs)) is not None:
                return answer
        return self._no_change("no gain that matters was shown")

    async def _start(self, position: int, side: str) -> TrialRecord | None:
        kept = [t for t in self.loop.trials if t.position == position]
        if kept and kept[-1].verdict is not None:
            return kept[-1]
        if self.loop.ledger.exhausted(self.loop.clock(), 0, full=True) is not None:
            return None
        candidate = self.finalist if side == "B" else self.loop.info.baseline
        trial = kept[-1] if kept and not kept[-1].recorded else None
        if trial is None:
            reason = f"{'finalist' if side == 'B' else 'baseline'} on a fresh start"
            trial = await self.loop.begin(TrialKind.CONFIRM, candidate, reason, position=position)
        trial = await self.loop.carry_out(
            trial, block=position // BLOCK, then=lambda driver, outcome: self._inspect(driver, side, outcome)
        )
        return trial if trial.verdict is not None else await self._start(position, side)

    def _flaw(self, trial: TrialRecord) -> str | None:
        """What a fresh start of the finalist says against it."""
        verdict = trial.verdict
        if verdict is None or verdict.failure is not None:
            return f"the finalist failed on a fresh start: {trial.failure}"
        if verdict.feasible:
            return None
        if verdict.certain:
            return "the finalist broke its SLOs on a fresh start"
        in_time = "before the study had to end" if self.loop.left_s() < _SHORT_S else "in the time allowed"
        return f"whether the finalist meets its SLOs on a fresh start was not certain {in_time}"

    def _unfinished(self, trials: Sequence[TrialRecord], sequence: str) -> Confirmation:
        """The budget is used up: the last look found no clear gain, and what it saw is told."""
        done = max((pairs for pairs in looks(len(sequence) // 2) if 2 * pairs <= len(trials)), default=0)
        seen = f", after {done} of at most {len(sequence) // 2} pairs" if done else ""
        comparison = self._comparison(_blocks(trials[: 2 * done], sequence)) if done else None
        return self._no_change(f"the budget ended before the confirmation did{seen}", comparison)

    async def _inspect(self, driver: Driver, side: str, measured: Outcome) -> None:
        """While the engine still runs: once each the output check, and the soak of the finalist."""
        if self.check_output and side not in self.inspected.outputs:
            self.inspected.outputs[side] = await driver.greedy(PROMPTS, MAX_TOKENS)
        if side == "B" and self.inspected.soak_errors is None:
            self.inspected.soak_errors = await self._soak(driver, measured)
        kept = {_KEPT: encode(self.inspected)}
        await asyncio.to_thread(self.loop.store.set_result, self.loop.study_id, kept)

    async def _soak(self, driver: Driver, measured: Outcome) -> dict[str, int] | None:
        """Errors under the longest requests; None where the study's end came first."""
        left_s = self.loop.left_s()
        if left_s < _SHORT_S:
            return None
        settings = (measured.facts and measured.facts.settings) or {}
        level = await soak(
            driver,
            self.loop.aim.workload,
            max(1, int({**settings, **self.finalist}.get("max_num_seqs", _CONCURRENCY))),
            self.loop.aim.seed,
            kv_tokens=measured.facts.kv_cache_tokens if measured.facts else None,
            token_rate=measured.measurement.level.total_token_rate if measured.measurement else None,
            rounds=1,
            max_s=left_s,
        )
        cut = level.errors and self.loop.left_s() < _SHORT_S
        return None if cut else dict(level.errors)

    async def _recall(self) -> None:
        study = await asyncio.to_thread(self.loop.store.study_by_id, self.loop.study_id)
        if study.result and _KEPT in study.result:
            self.inspected = decode(Inspected, study.result[_KEPT])

    def _look(self, trials: Sequence[TrialRecord], sequence: str, done: int, pairs: int) -> Confirmation | None:
        if (blemish := self._blemish()) is not None:
            return self._no_change(blemish)
        blocks = _blocks(trials, sequence)
        if not any(block.baseline for block in blocks):
            return self._without_baseline(trials, sequence, done)
        return self._compare(blocks, done, pairs)

    def _without_baseline(self, trials: Sequence[TrialRecord], sequence: str, done: int) -> Confirmation:
        """No start of the baseline has a value: because it broke its SLOs, or because nobody could tell in time."""
        verdicts = [t.verdict for t, letter in zip(trials, sequence, strict=False) if letter == "A"]
        if all(verdict is not None and verdict.certain for verdict in verdicts):
            return self._conclude(Conclusion.MEETS, f"{done} fresh starts of each", None)
        return self._no_change("whether the current configuration meets the SLOs was not certain in the time allowed")

    def _compare(self, blocks: Sequence[Block], done: int, pairs: int) -> Confirmation | None:
        aim, comparison = self.loop.aim, self._comparison(blocks)
        found, smallest = estimate(blocks, aim.objective.merit), aim.smallest_gain
        of_most = f"after {done} of at most {pairs} pairs"
        if found is not None and clearly_better(found, done, pairs, smallest):
            return self._conclude(Conclusion.BETTER, of_most, comparison)
        if done == pairs and found is None:
            return self._no_change("too few starts of the current configuration met the SLOs")
        if done == pairs:
            return self._no_change(f"a gain over {smallest:.0%} was not shown", comparison)
        if found is not None and hopeless(found, smallest):
            return self._no_change(f"{of_most} a gain over {smallest:.0%} is unlikely", comparison)
        return None

    def _comparison(self, blocks: Sequence[Block]) -> Comparison | None:
        return compare_blocks(blocks, self.loop.aim.objective.merit)

    def _blemish(self) -> str | None:
        if self.inspected.soak_errors:
            return f"the finalist failed the soak with the longest prompts: {self.inspected.soak_errors}"
        if self.inspected.soak_errors is None:
            return "the finalist was not soaked"
        agreement = self._agreement()
        if self.check_output and agreement is None:
            return "whether the finalist changes what the model writes was not checked"
        if agreement is not None and not agreement.ok:
            return f"the finalist changes what the model writes: {agreement.reason}"
        return None

    def _agreement(self) -> Agreement | None:
        outputs = self.inspected.outputs
        return compare(outputs["A"], outputs["B"]) if {"A", "B"} <= outputs.keys() else None

    def _no_change(self, reason: str, comparison: Comparison | None = None) -> Confirmation:
        return self._conclude(Conclusion.NO_CHANGE, reason, comparison)

    def _conclude(self, conclusion: Conclusion, reason: str, comparison: Comparison | None) -> Confirmation:
        return Confirmation(conclusion, reason, self.finalist, comparison, self._agreement())


async def confirm(loop: TrialLoop, search_ended: str) -> Confirmation:
    """Confirm the search's finalist against its baseline; "no change" where the search found nothing better.

    `search_ended` is why the search has.
    """
    best, baseline = loop.incumbent, loop.baseline
    if best is None:
        return Confirmation(Conclusion.NO_CHANGE, "no configuration met the SLOs")
    if not any(t.kind is TrialKind.SEARCH and t.verdict is not None for t in loop.trials):
        return Confirmation(Conclusion.NO_CHANGE, f"the search measured no other configuration: {search_ended}")
    if baseline is None or best.id == baseline.id or best.candidate == baseline.candidate:
        reason = f"nothing the search tried was better than the current configuration ({search_ended})"
        return Confirmation(Conclusion.NO_CHANGE, reason)
    chosen = finalist(loop.trials, loop.aim.objective, loop.aim.restart_cv, loop.ineffective)
    if chosen is None:
        return Confirmation(Conclusion.NO_CHANGE, "the best that was found is what runs already")
    check_output = loop.space.may_change_output(baseline.candidate, chosen)
    return await Confirming(loop, chosen, check_output).run()


def _prompts_used(workload: Workload) -> str | None:
    """Whether the user's own prompts are others here than in the search; None where there are none to part."""
    if workload.prompts_file is None or not workload.held_out:
        return None
    prompts = read_prompts(workload.prompts_file)
    kept = part_of(prompts, Part.HELD_OUT, workload.held_out)
    if len(kept) == len(prompts):
        return f"{len(prompts)} prompts are too few to hold some out: the confirmation uses those of the search"
    return f"the confirmation uses {len(kept)} prompts that the search did not"


def _blocks(trials: Sequence[TrialRecord], sequence: str) -> list[Block]:
    """Values of the feasible starts, by block. A baseline start that broke its SLOs is left out, in its favour."""
    return [
        Block(_values(trials[i : i + BLOCK], sequence[i:], "A"), _values(trials[i : i + BLOCK], sequence[i:], "B"))
        for i in range(0, len(trials), BLOCK)
    ]


def _values(trials: Sequence[TrialRecord], sides: str, side: str) -> tuple[float, ...]:
    verdicts = [t.verdict for t, letter in zip(trials, sides, strict=False) if letter == side]
    return tuple(v.value for v in verdicts if v is not None and v.feasible and v.value is not None and v.value > 0)
