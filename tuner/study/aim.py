"""What a study is after."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.core.slo import Slo
from tuner.core.workload import Objective, Workload
from tuner.probe import Limits
from tuner.study.spec import StudySpec


@dataclass(frozen=True)
class Aim:
    """What a study is after, fixed before its first trial."""

    workload: Workload
    objective: Objective
    slos: tuple[Slo, ...]
    seed: int
    smallest_gain: float  # relative: a gain below this does not matter
    restart_cv: float  # relative noise between starts of one configuration
    rollout_deadline_s: float
    limits: Limits

    @classmethod
    def of(cls, spec: StudySpec) -> Aim:
        """As the user asks for it."""
        return cls(
            workload=spec.core_workload(),
            objective=spec.core_objective(),
            slos=spec.core_slos(),
            seed=spec.seed,
            smallest_gain=spec.budget.smallest_gain,
            restart_cv=spec.budget.restart_cv,
            rollout_deadline_s=spec.rollout_deadline_s,
            limits=spec.core_limits(),
        )
