"""A study's answer in words, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.core.workload import Count, ObjectiveKind
from tuner.store import StudyRecord, TrialRecord
from tuner.study import units
from tuner.study.report import objective_of
from tuner.study.standing import proven_rates


def measured(study: StudyRecord) -> str:
    """What the confirmation's starts of baseline and winner came to, in the mean that their gain is of; "" for none."""
    result: Mapping[str, Any] = study.result or {}
    sides = [result.get("baseline_values"), result.get("finalist_values")]
    if not all(sides):
        return ""
    objective = objective_of(study)
    before, after = (objective.mean(side) for side in sides if side)
    values = f"{units.value(before, objective)} -> {units.objective_value(after, objective)}"
    if objective.kind is ObjectiveKind.HEADROOM or objective.count is not Count.OUTPUT_TOKENS:
        return values
    workload = study.spec["workload"]
    if any(workload.get(name) is not None for name in ("prompts_file", "lengths", "trace")):
        return values  # answers have other lengths than `output` says
    tokens = workload["output"]["mean"]
    return f"{values} ({units.number(before / tokens)} -> {units.number(after / tokens)} req/s)"


def proven(study: StudyRecord, trials: Sequence[TrialRecord]) -> str:
    """At which rates every SLO was shown to hold, of baseline and winner; "" where a capacity was not asked for."""
    rates = proven_rates(study, trials)
    if rates is None:
        return ""
    before, after = rates
    found = "none" if before is None else units.number(before)
    return f"{found} -> {units.number(after)} req/s, the least at which a fresh start was shown to keep every SLO"


def asked(study: StudyRecord) -> str:
    """What was promised and what was sent, in a sentence."""
    objective = objective_of(study)
    slos = ", ".join(study.spec["slos"]) or "no promise"
    at = ""
    if objective.rate is not None and objective.kind is ObjectiveKind.HEADROOM:
        at = f" at {objective.rate:g} req/s"
    elif objective.concurrency is not None and objective.kind is ObjectiveKind.THROUGHPUT:
        at = f" of {objective.concurrency} clients"
    sent, unit = _sent(study.spec["workload"]), units.unit(objective)
    return f"The highest {objective.kind.value}{at}, in {unit}, with {slos}; {sent}."


def _sent(workload: Mapping[str, Any]) -> str:
    for name in ("prompts_file", "trace"):
        if workload.get(name) is not None:
            return f"requests of {workload[name]}"
    lengths = workload.get("lengths")
    if isinstance(lengths, str):
        return f"requests of the lengths in {lengths}"
    if lengths is not None:
        return f"requests of {len(lengths)} lengths"
    prompt, output = workload.get("prompt") or {}, workload.get("output") or {}
    means = f"prompts of {prompt.get('mean', '?')} tokens, answers of {output.get('mean', '?')}"
    prefix = workload.get("shared_prefix")
    return f"{means}, {prefix} tokens in common" if prefix else means
