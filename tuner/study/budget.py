"""What a study may still spend: engine starts, GPU-minutes and time, with the confirmation's share set aside first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tuner.store import Phase, PhaseRecord, TrialKind, TrialRecord

_AT_WORK = (Phase.STARTING, Phase.WARMING_UP, Phase.PROBING, Phase.JUDGING)


@dataclass(frozen=True)
class Budget:
    """The limits of a study; None means no limit. `pairs` is the most that the confirmation may take."""

    starts: int
    gpu_minutes: float | None
    until: datetime | None
    pairs: int

    @property
    def reserved_starts(self) -> int:
        """Starts kept for the confirmation: one of the finalist and one of the baseline per pair."""
        return 2 * self.pairs

    def expected_s(self, start_s: float, gpus: int, now: datetime) -> float:
        """How long a study takes at most where a start takes `start_s` seconds: whichever limit ends it first."""
        limits = [self.starts * start_s]
        if self.gpu_minutes is not None:
            limits.append(self.gpu_minutes * 60 / gpus)
        if self.until is not None:
            limits.append((self.until - now).total_seconds())
        return min(limits)

    def too_little(self, start_s: float, gpus: int, now: datetime) -> list[str]:
        """What is probably too little to find a winner by, where a start takes `start_s` seconds; one sentence each.

        The least is the baseline, one candidate, and what is kept for the confirmation. Starts are counted before a
        study begins (see the spec); minutes and time can only be guessed.
        """
        needed_s = (2 + self.reserved_starts) * start_s
        least = f"the baseline, one candidate and {self.reserved_starts} starts to confirm it"
        fewer = f", or fewer than {self.pairs} pairs" if self.pairs > 2 else ""  # 2 are the fewest
        found = []
        if self.gpu_minutes is not None and self.gpu_minutes * 60 < needed_s * gpus:
            text = f"{self.gpu_minutes:g} is probably too little: {least} take about {needed_s * gpus / 60:.0f}"
            found.append(f"budget.gpu_minutes: {text}, else nothing is searched; give more{fewer}")
        if self.until is not None and self.until < now + timedelta(seconds=needed_s):
            text = f"{self.until:%Y-%m-%d %H:%M} is probably too soon: {least} take about {needed_s / 60:.0f} min"
            found.append(f"until: {text}, else nothing is searched; give more time{fewer}")
        return found


@dataclass
class _Mean:
    """What starts of one kind took, in the mean of those that came to their end."""

    starts: int = 0
    gpu_s: float = 0.0
    wall_s: float = 0.0

    def add(self, gpu_s: float, wall_s: float) -> None:
        self.starts += 1
        self.gpu_s += gpu_s
        self.wall_s += wall_s


@dataclass
class Ledger:
    """What has been spent, and what further starts are expected to take.

    A trial of the search is often cut short; a `full` one (of the baseline, of a confirmation) takes two or three times
    as long. Starts that failed for infrastructure cost their time, but are not counted as starts. Those that were
    `killed` are at the search's cost: what was set aside for full ones stays.
    """

    budget: Budget
    starts: int = 0
    killed: int = 0
    gpu_s: float = 0.0
    restore_s: float | None = None  # what the engine that was found takes to start; None: not known yet
    _search: _Mean = field(default_factory=_Mean)
    _full: _Mean = field(default_factory=_Mean)

    def charge(self, gpu_s: float, wall_s: float, *, full: bool = False) -> None:
        """Charge one engine start and everything measured on it."""
        self.starts += 1
        self.gpu_s += gpu_s
        (self._full if full else self._search).add(gpu_s, wall_s)

    def charge_trial(self, trial: TrialRecord, gpus: int) -> None:
        """Charge what is on record of a trial."""
        if trial.recorded is None or trial.screened:
            return
        if trial.verdict is None:
            self.gpu_s += trial.gpu_s
        else:
            self.charge(trial.gpu_s, trial.gpu_s / gpus, full=trial.kind is not TrialKind.SEARCH)
        if trial.kind is TrialKind.BASELINE and trial.verdict is not None:
            self.restore_s = trial.start_s

    def charge_killed(self, trial: TrialRecord, gpus: int) -> None:
        """Charge the starts of a trial that earlier runs began and did not live to record."""
        for wall_s in killed_starts(trial):
            self.killed += 1
            self.gpu_s += gpus * wall_s

    def left_s(self, now: datetime) -> float | None:
        """Seconds until everything must be put back, which takes a start of the engine; None: no end is set.

        While nobody knows how long a start takes, half of the time is kept for it.
        """
        if self.budget.until is None:
            return None
        left = (self.budget.until - now).total_seconds()
        return left / 2 if self.restore_s is None else left - self.restore_s

    def exhausted(self, now: datetime, reserved: int, *, full: bool = False) -> str | None:
        """Why no further start may begin while `reserved` full ones after it must stay affordable; None: it may."""
        used = self.starts + (0 if full else self.killed)
        if used + 1 + reserved > self.budget.starts:
            left = self.budget.starts - used
            return f"{used} of {self.budget.starts} engine starts are used" + (
                f" and {left} are kept for the confirmation" if reserved and left > 0 else ""
            )
        gpu_s, wall_s = self._expected(full)
        reserved_gpu_s, reserved_wall_s = (reserved * mean for mean in self._expected(True))
        limit = self.budget.gpu_minutes
        if limit is not None and self.gpu_s + gpu_s + reserved_gpu_s > limit * 60:
            kept = " beside the confirmation" if reserved else ""
            return f"{self.gpu_s / 60:.1f} of {limit:g} GPU-minutes are used, and another start would not fit{kept}"
        until, left_s = self.budget.until, self.left_s(now)
        # Once more what is expected: for the restore, and for a trial that takes longer than the mean.
        late = until is not None and now + timedelta(seconds=2 * wall_s + reserved_wall_s) > until
        if late or (left_s is not None and left_s <= 0):
            return f"a further trial could not end and be restored before {until:%Y-%m-%d %H:%M}"
        return None

    def _expected(self, full: bool) -> tuple[float, float]:
        """GPU-seconds and seconds that one more start is expected to take: the mean of its kind, or of the other."""
        own, other = (self._full, self._search) if full else (self._search, self._full)
        mean = own if own.starts else other
        return (mean.gpu_s / mean.starts, mean.wall_s / mean.starts) if mean.starts else (0.0, 0.0)


def killed_starts(trial: TrialRecord) -> list[float]:
    """Seconds of each start of a trial whose run was killed before its outcome was on record, as far as one can see."""
    starts = [_worked_s(start) for start in _by_start(trial.phases)]
    measured = len(trial.summary.levels) if trial.summary else 0
    lost = trial.levels[: len(trial.levels) - measured]
    if trial.recorded is not None and not trial.screened:
        starts = starts[:-1]
        lost = lost if starts else ()
    if starts:
        starts[-1] += sum(level.duration_s for level in lost)
    return starts


def spent_gpu_s(trial: TrialRecord, gpus: int) -> float:
    """GPU-seconds that a trial has cost, the starts that were killed among them."""
    return trial.gpu_s + sum(killed_starts(trial)) * gpus


def _by_start(phases: tuple[PhaseRecord, ...]) -> Iterator[list[PhaseRecord]]:
    at_work = [one for one in phases if one.phase in _AT_WORK]
    begins = [index for index, one in enumerate(at_work) if one.phase is Phase.STARTING]
    for begin, end in zip(begins, [*begins[1:], None], strict=False):
        yield at_work[begin:end]


def _worked_s(start: list[PhaseRecord]) -> float:
    return (start[-1].began - start[0].began).total_seconds()
