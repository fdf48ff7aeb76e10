"""`tuner show`: one study with its trials."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.text import Text

from tuner.cli import options, units
from tuner.cli.live import failure_text, verdict_text
from tuner.cli.options import OutputFormat
from tuner.cli.output import print_facts, print_json, print_table, print_yaml
from tuner.core.knob import Candidate
from tuner.core.workload import Objective
from tuner.store import Store, StudyRecord, TrialRecord
from tuner.study.report import baseline, changes, find_study, margins, objective_of, overview, report, value_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(show)


def show(
    study: options.StudyName = None,
    storage: options.Storage = None,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Show a study: its answer, and every trial with its value, margins to the SLOs, or cause of failure."""
    with Store.open(options.storage_url(storage)) as store:
        record = find_study(store, study)
        trials = store.trials(record.id)
    if output is OutputFormat.JSON:
        print_json(report(record, trials))
    elif output is OutputFormat.YAML:
        print_yaml(report(record, trials))
    else:
        print_study(record, trials, wide=output is OutputFormat.WIDE)


def print_study(study: StudyRecord, trials: Sequence[TrialRecord], *, wide: bool) -> None:
    """Print a study's summary and its trials for people."""
    objective = objective_of(study)
    summary = overview(study, trials)
    print_facts(
        {
            "study": Text(study.name),
            "target": Text(study.target),
            "state": Text(f"{study.state.value}{': ' + study.detail if study.detail else ''}"),
            "answer": Text(summary["summary"] or "none yet", style="bold"),
            "why": Text((study.result or {}).get("reason") or ""),
            "winner": Text(_winner(study)),
            "spent": Text(
                f"{summary['starts']} starts ({summary['failed_starts']} failed), "
                f"{summary['gpu_minutes']} GPU-minutes, {summary['screened']} screened without a start"
            ),
        }
    )
    print()
    print_table(_columns(wide), [_row(trial, objective, baseline(trials), wide) for trial in trials])


def _winner(study: StudyRecord) -> str:
    result = study.result or {}
    if not result.get("exportable") or result.get("finalist") is None:
        return "—"
    return str(Candidate.of(result["finalist"]))


def _columns(wide: bool) -> list[str]:
    return ["#", "kind", "outcome", "vs baseline", "margins", "candidate" if wide else "changed"] + (
        ["start", "probe", "levels", "why tried"] if wide else []
    )


def _row(trial: TrialRecord, objective: Objective, first: TrialRecord | None, wide: bool) -> list[str | Text]:
    room = ", ".join(f"{_short(slo)} {margin:+.0%}" for slo, margin in margins(trial.verdict).items())
    row: list[str | Text] = [
        str(trial.number),
        trial.kind.value,
        failure_text(trial.failure, trial.screened) or verdict_text(trial.verdict, objective),
        units.gain(value_of(trial), value_of(first)) if trial != first else "",
        room,
        str(trial.candidate if wide else Candidate.of(changes(trial, first))),
    ]
    if wide:
        row += [
            units.duration(trial.start_s),
            units.duration(trial.probe_s),
            str(len(trial.measurement.levels if trial.measurement else trial.levels)),
            trial.reason,
        ]
    return row


def _short(slo: str) -> str:
    return slo.split(" <=")[0]
