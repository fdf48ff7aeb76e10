"""What is expected of a configuration, in words."""

from __future__ import annotations

from tuner.core.workload import Objective, ObjectiveKind
from tuner.search import Prediction
from tuner.simulator.memory import MemoryPlan
from tuner.study import units

CLOSE = "close to a memory cliff: only a start tells"
_NOTHING = {
    ObjectiveKind.CAPACITY: "does not meet the SLOs at any rate",
    ObjectiveKind.THROUGHPUT: "does not meet the SLOs with so many clients",
    ObjectiveKind.HEADROOM: "does not meet the SLOs at this rate",
}


def expected(one: Prediction, objective: Objective, baseline: float | None) -> str:
    """The value that is expected, against `baseline` (None: against nothing); or why there is none."""
    if one.refusal is not None:
        return f"does not start: {one.refusal}"
    if one.value is None:
        return _NOTHING[objective.kind]
    at = f" at {one.rate:.3g} req/s" if one.rate is not None else ""
    gain = units.gain(one.value, baseline, objective)
    against = f", {gain} against what was found" if gain else ""
    return f"{units.objective_value(one.value, objective)}{at}{against}"


def memory(plan: MemoryPlan) -> str:
    """What a start makes of the memory of each GPU."""
    return (
        f"{plan.requested_gib:.1f} GiB = weights {plan.weights_gib:.1f} + activations {plan.activation_gib:.1f} + "
        f"other {plan.non_torch_gib:.1f} + graphs {plan.graphs_gib:.1f} + KV cache {plan.kv_gib:.1f}"
    )


def kv_cache(plan: MemoryPlan) -> str:
    """How much fits into its KV cache."""
    return f"{plan.kv_tokens:,} tokens, {plan.max_concurrency:.1f} requests of the longest length"
