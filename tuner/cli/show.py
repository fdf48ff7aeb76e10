"""`tuner show`: one study with its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.text import Text

from tuner.cli import options
from tuner.cli.options import OutputFormat
from tuner.cli.output import emit, print_facts, print_table
from tuner.core.workload import Objective
from tuner.store import StudyRecord, TrialKind, TrialRecord
from tuner.study import units
from tuner.study.answer import measured, proven
from tuner.study.confirm import Conclusion
from tuner.study.report import find_study, margins, objective_of, outcome, overview, report
from tuner.study.standing import baseline, changes, recommended, value_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(show)


def show(
    study: options.StudyName = None,
    storage: options.Storage = None,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Show a study: its answer, and every trial with its value, margins to the SLOs, or cause of failure."""
    with options.existing_store(storage) as store:
        record = find_study(store, study)
        trials = store.trials(record.id)
    # YAML is for reading, and takes a tenth of a second for such a series.
    shown = report(record, trials, series=output is OutputFormat.JSON)
    emit(output, shown, lambda: print_study(record, trials, wide=output is OutputFormat.WIDE))


def print_study(study: StudyRecord, trials: Sequence[TrialRecord], *, wide: bool) -> None:
    """Print a study's summary and its trials for people."""
    objective = objective_of(study)
    print_facts(_summary(study, trials))
    print()
    promised = list(dict.fromkeys(name for trial in trials for name in margins(trial)))
    rows = [_row(trial, baseline(trials), objective, promised, wide) for trial in trials]
    print_table(_columns(objective, promised, wide), rows)


def _summary(study: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, str | Text]:
    result, told = study.result or {}, overview(study, trials)
    answered = told["summary"] is not None
    winner = recommended(study)
    simulated = " (simulated)" if study.info.get("simulated") else ""
    lost = f", {told['lost_starts']} lost to infrastructure" if told["lost_starts"] else ""
    facts: dict[str, str | Text] = {
        "study": study.name,
        "target": study.target,
        "state": told["state"] + (f": {study.detail}" if study.detail and not answered else ""),
        "answer": Text(_answer(told), style="bold"),
        "measured": measured(study),
        "proven": proven(study, trials),
        "why": result.get("reason") or "",
        "winner": "" if winner is None else units.changed(winner),
        "no effect": ", ".join(result.get("ineffective") or ()),
        "spent": f"{told['starts']} starts ({told['failed_starts']} failed){lost}, {told['gpu_minutes']:.1f} "
        f"GPU-minutes{simulated}; {told['screened']} candidates ruled out without a start",
    }
    return {name: value for name, value in facts.items() if value}


def _answer(told: Mapping[str, Any]) -> str:
    """The answer, with what was measured where that is not the answer itself."""
    if told["summary"] is None or told["interval"] is None:
        return told["summary"] or "none yet"
    if told["conclusion"] == Conclusion.BETTER:
        return f"{told['summary']} (95% interval)"
    low, high = told["interval"]
    return f"{told['summary']} (measured {told['gain']:+.1%} [{low:+.1%}, {high:+.1%}], 95% interval)"


def _columns(objective: Objective, promised: Sequence[str], wide: bool) -> list[str]:
    names = ["#", "kind", units.unit(objective), "gain", *map(_short, promised)]
    return [*names, "start", "probe", "levels", "candidate", "why tried", "message"] if wide else [*names, "changed"]


def _row(
    trial: TrialRecord, first: TrialRecord | None, objective: Objective, promised: Sequence[str], wide: bool
) -> list[str | Text]:
    value, room = value_of(trial), margins(trial)
    row: list[str | Text] = [
        str(trial.number),
        trial.kind.value,
        _outcome(trial) if value is None else Text(units.value(value, objective), style="green"),
        units.gain(value, value_of(first), objective) if trial.kind is TrialKind.SEARCH else "",
        *(units.room(room[name]) if name in room else "" for name in promised),
    ]
    if not wide:
        return [*row, "as found" if trial == first else units.changed(changes(trial, first))]
    return [
        *row,
        units.duration(trial.start_s),
        units.duration(trial.probe_s),
        str(len(trial.measurement.levels if trial.measurement else trial.levels)),
        units.changed(trial.candidate) if trial.candidate else "engine defaults",
        trial.reason,
        trial.failure.message if trial.failure else "",
    ]


def _outcome(trial: TrialRecord) -> Text:
    """How a trial without a value ended: the cause of its failure, or the failure that the planner expects."""
    word = outcome(trial)
    if trial.failure is not None:
        word = f"{'not tried: ' if trial.screened else ''}{trial.failure.cause.value}"
    return Text(word, style=_STYLES.get(outcome(trial), ""))


_STYLES = {"failed": "red", "screened": "dim", "infeasible": "yellow", "uncertain": "yellow"}


def _short(slo: str) -> str:
    return slo.split(" <=")[0]
