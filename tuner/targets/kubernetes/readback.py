"""Whether an engine that serves really runs what was asked for, by its own reports."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.engines.engine import Engine


def fail_unless_applied(engine: Engine, candidate: Candidate, facts: EngineFacts) -> None:
    """Raise TrialFailed where the engine reports other settings than the candidate's."""
    differing = engine.differs(candidate, facts)
    if differing:
        told = ", ".join(f"{name} is {is_!r}, not {asked!r}" for name, (asked, is_) in sorted(differing.items()))
        raise TrialFailed(Failure(Cause.NOT_APPLIED, f"the engine runs with other settings: {told}"))


def ineffective(starts: Sequence[tuple[Candidate, EngineFacts]]) -> tuple[str, ...]:
    """Knobs that the engine takes and that do nothing on it, shown by its own reports.

    A memory share that leaves the KV cache's size to the token as it was is overridden by something else, as a cache of
    fixed size is on CPUs.
    """
    knob, layout = "gpu_memory_utilization", ("kv_cache_dtype", "block_size", "tensor_parallel_size")
    sizes: dict[tuple[object, ...], dict[object, int]] = {}
    for candidate, facts in starts:
        if facts.kv_cache_tokens is not None and knob in candidate:
            key = tuple(candidate.get(name) for name in layout)
            sizes.setdefault(key, {})[candidate[knob]] = facts.kv_cache_tokens
    return (knob,) if any(len(seen) > 1 and len(set(seen.values())) == 1 for seen in sizes.values()) else ()
