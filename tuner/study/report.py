"""What is shown of a study, as plain data: the same for tables, `-o json` and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.core.errors import InvalidInput
from tuner.core.measurement import Level
from tuner.core.workload import Objective
from tuner.store import Store, StudyRecord, TrialKind, TrialRecord
from tuner.store.codec import encode
from tuner.study.budget import killed_starts, spent_gpu_s
from tuner.study.judge import WORST_VIOLATION
from tuner.study.spec import ObjectiveSpec
from tuner.study.standing import baseline, proven_rates, state_of, value_of


def find_study(store: Store, name: str | None) -> StudyRecord:
    """The study of this name, or the newest. Raises InvalidInput with the names there are."""
    studies = store.studies()
    if not studies:
        raise InvalidInput("there is no study yet; `tuner start` makes one (is --storage the database you mean?)")
    if name is None:
        return studies[-1]
    found = next((study for study in studies if study.name == name), None)
    if found is None:
        newest = ", ".join(study.name for study in studies[-5:])
        raise InvalidInput(f"STUDY: there is no study {name!r}; the newest are: {newest}")
    return found


def objective_of(study: StudyRecord) -> Objective:
    """What a study maximises, from its stored spec (whose files may be gone since)."""
    return ObjectiveSpec.model_validate(study.spec["objective"]).core()


def gpus_of(study: StudyRecord) -> int:
    """The GPUs that one of its engine starts takes; a CPU counts as one."""
    return max(1, study.info.get("gpu_count") or 0)


def overview(study: StudyRecord, trials: Sequence[TrialRecord], state: str | None = None) -> dict[str, Any]:
    """One study on one line: where it stands, what it found, what it took. `state` is its state_of, if asked before.

    What failed for infrastructure is no start of the budget's: it is counted by itself.
    """
    counted = [trial for trial in trials if trial.recorded and not (trial.screened or trial.lost)]
    gpu_s = sum(spent_gpu_s(trial, gpus_of(study)) for trial in trials)
    result: Mapping[str, Any] = study.result or {}
    return {
        "name": study.name,
        "state": state or state_of(study),
        "detail": study.detail,
        "target": study.target,
        "conclusion": result.get("conclusion"),
        "summary": result.get("summary"),
        "gain": result.get("gain"),
        "interval": result.get("interval"),
        "starts": len(counted) + sum(len(killed_starts(trial)) for trial in trials),
        "failed_starts": sum(trial.failure is not None for trial in counted),
        "lost_starts": sum(trial.lost for trial in trials),
        "screened": sum(trial.screened for trial in trials),
        "gpu_minutes": round(gpu_s / 60, 2),
        "created": study.created.isoformat(timespec="seconds"),
        "updated": study.updated.isoformat(timespec="seconds"),
    }


#: Fields of a level with some thousand numbers, which only a picture can show.
SERIES = ("quantiles", "timeline")


def report(study: StudyRecord, trials: Sequence[TrialRecord], *, series: bool = True) -> dict[str, Any]:
    """Everything that is known of one study; without `series` nothing that only a picture can show."""
    return {
        **overview(study, trials),
        "spec": dict(study.spec),
        "info": {key: value for key, value in study.info.items() if key != "holder"},
        "result": dict(study.result) if study.result else None,
        "proven_rates": proven_rates(study, trials),
        "trials": [trial_row(trial, value_of(baseline(trials)), objective_of(study), series) for trial in trials],
    }


def short_report(study: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """The same of trials that were read in short: of their levels load, answer, length, and whether they are void."""
    told = report(study, trials)
    for row, trial in zip(told["trials"], trials, strict=True):
        row["levels"] = encode(trial.summary.levels) if trial.summary else row["levels"]
    return told


def trial_row(trial: TrialRecord, before: float | None, objective: Objective, series: bool = True) -> dict[str, Any]:
    """One trial: candidate, value, margins to the SLOs (positive: room left), cause, and what it took."""
    value = value_of(trial)
    return {
        "number": trial.number,
        "kind": trial.kind.value,
        "phase": trial.phase.value,
        "candidate": dict(trial.candidate),
        "reason": trial.reason,
        "outcome": outcome(trial),
        "value": value,
        "against_baseline": against_baseline(trial, before, objective),
        "margins": margins(trial),
        "expected": encode(trial.expected),
        "cause": trial.failure.cause.value if trial.failure else None,
        "message": trial.failure.message if trial.failure else None,
        "evidence": trial.failure.evidence if trial.failure else None,
        "start_s": round(trial.start_s, 1),
        "probe_s": round(trial.probe_s, 1),
        "gpu_s": round(trial.gpu_s, 1),
        "levels": [_level(level, series) for level in _levels(trial)],
        "facts": encode(trial.facts),
    }


def against_baseline(trial: TrialRecord, before: float | None, objective: Objective) -> float | None:
    """Its gain over the search's baseline; None for a confirmation's start, which is compared with its own pair."""
    return objective.gain(value_of(trial), before) if trial.kind is TrialKind.SEARCH else None


def _level(level: Level, series: bool) -> dict[str, Any]:
    return {name: value for name, value in encode(level).items() if series or name not in SERIES}


def outcome(trial: TrialRecord) -> str:
    """One word for how a trial ended."""
    if not trial.recorded:
        return "unfinished"
    if trial.screened:
        return "screened"
    if trial.failure is not None:
        return "failed"
    if trial.verdict is not None and trial.verdict.feasible:
        return "feasible"
    return "infeasible" if trial.verdict is not None and trial.verdict.certain else "uncertain"


def margins(trial: TrialRecord) -> dict[str, float]:
    """Relative room to each SLO's bound as measured: 0.2 is 20 % below it, -0.2 is 20 % over it."""
    if trial.summary is None:
        return {}
    return {test.slo: -min(test.violation, WORST_VIOLATION) for test in trial.summary.tests}


def _levels(trial: TrialRecord) -> Sequence[Level]:
    return trial.measurement.levels if trial.measurement else trial.levels
