"""What a study may still spend: engine starts, GPU-minutes and time, with the confirmation's share set aside first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


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


@dataclass
class Ledger:
    """What has been spent, and what one more trial is expected to take. Only real starts are charged."""

    budget: Budget
    starts: int = 0
    gpu_s: float = 0.0
    wall_s: float = 0.0

    def charge(self, gpu_s: float, wall_s: float) -> None:
        """Charge one engine start and everything measured on it."""
        self.starts += 1
        self.gpu_s += gpu_s
        self.wall_s += wall_s

    @property
    def expected_gpu_s(self) -> float:
        """GPU-seconds that one more start is expected to take: the mean so far."""
        return self.gpu_s / self.starts if self.starts else 0.0

    @property
    def expected_wall_s(self) -> float:
        """Seconds that one more start is expected to take: the mean so far."""
        return self.wall_s / self.starts if self.starts else 0.0

    def exhausted(self, now: datetime, reserved: int) -> str | None:
        """Why no further start may begin while `reserved` later ones must stay affordable; None: it may."""
        needed = 1 + reserved
        if self.starts + needed > self.budget.starts:
            left = self.budget.starts - self.starts
            return f"{self.starts} of {self.budget.starts} engine starts are used" + (
                f" and {left} are kept for the confirmation" if reserved and left > 0 else ""
            )
        limit = self.budget.gpu_minutes
        if limit is not None and self.gpu_s + needed * self.expected_gpu_s > limit * 60:
            return f"{self.gpu_s / 60:.1f} of {limit:g} GPU-minutes are used, and another start would not fit"
        until = self.budget.until
        # One expected trial more than needed stands for the restore and for a trial that takes longer than the mean.
        if until is not None and now + timedelta(seconds=(needed + 1) * self.expected_wall_s) > until:
            return f"a further trial could not end and be restored before {until:%Y-%m-%d %H:%M}"
        return None
