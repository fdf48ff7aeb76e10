"""One study as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuner.core.knob import Value
from tuner.core.slo import Slo, parse_slo
from tuner.core.workload import Objective, ObjectiveKind
from tuner.dashboard.views import MOST_ROWS
from tuner.dashboard.views.recommendation import Recommendation
from tuner.dashboard.views.row import TrialRow, rows
from tuner.store import Review, StudyRecord, StudyState, TrialKind, TrialRecord
from tuner.study import units
from tuner.study.answer import asked, measured, proven
from tuner.study.importance import Importance, importance
from tuner.study.judge import better
from tuner.study.report import gpus_of, objective_of, overview
from tuner.study.standing import baseline, incumbent, value_of

_KNOWN = ("simulated", "model", "gpu", "gpu_count", "on_cpu", "engine", "version", "by")


@dataclass(frozen=True)
class StudyView:
    """A study with its trials in short.

    `alone`: it is shown as a file, with no other page beside it. `state`: the word for where it stood when it was read.
    """

    study: StudyRecord
    trials: Sequence[TrialRecord]
    reviews: Sequence[Review] = ()
    alone: bool = False
    state: str | None = None

    @cached_property
    def overview(self) -> Mapping[str, Any]:
        """As `tuner studies` lists it."""
        return overview(self.study, self.trials, self.state)

    @cached_property
    def known(self) -> Mapping[str, Any]:
        """What is known of its target; what an earlier version did not keep is None."""
        return {**dict.fromkeys(_KNOWN), **self.study.info}

    @property
    def where(self) -> str:
        """What was tuned, and what it runs on, in a line."""
        known = self.known
        gpus = "CPU" if known["on_cpu"] else f"{known['gpu_count']} × {known['gpu']}" if known["gpu"] else ""
        engine = " ".join(str(known[name]) for name in ("engine", "version") if known[name])
        target = f"{self.study.target} (simulated)" if known["simulated"] else self.study.target
        return " · ".join(part for part in (target, known["model"], gpus, engine) if part)

    @cached_property
    def objective(self) -> Objective:
        """What is maximised."""
        return objective_of(self.study)

    @cached_property
    def slos(self) -> tuple[Slo, ...]:
        """What was promised."""
        return tuple(parse_slo(text) for text in self.study.spec["slos"])

    @property
    def result(self) -> Mapping[str, Any]:
        """What the study found; empty before that."""
        return self.study.result or {}

    @property
    def live(self) -> bool:
        """Whether it runs now, so that the page follows it."""
        at_work = (StudyState.CREATED, StudyState.SEARCHING, StudyState.CONFIRMING)
        return self.study.state in at_work and self.overview["state"] != "interrupted"

    @cached_property
    def baseline(self) -> TrialRecord | None:
        """The trial of what was found on the target."""
        return baseline(self.trials)

    @property
    def baseline_value(self) -> float | None:
        """Its value."""
        return value_of(self.baseline)

    @cached_property
    def incumbent(self) -> TrialRecord | None:
        """The best trial of the search."""
        return incumbent(self.trials)

    @cached_property
    def rows(self) -> Sequence[TrialRow]:
        """All trials, by number."""
        return list(rows(self.trials, self.objective, gpus_of(self.study)))

    @cached_property
    def incumbents(self) -> Sequence[tuple[float, float]]:
        """When the search found something better: GPU-minutes until then, and its value."""
        best, found = None, []
        for row in self.rows:
            verdict = row.record.verdict
            if row.record.kind is TrialKind.CONFIRM or verdict is None or not verdict.feasible:
                continue
            if better(verdict, best) and verdict.value is not None:
                best = verdict
                found.append((row.gpu_minutes, verdict.value))
        return found

    @property
    def gpu_minutes(self) -> float:
        """Spent so far."""
        return self.rows[-1].gpu_minutes if self.rows else 0.0

    @cached_property
    def promised(self) -> Sequence[str]:
        """The SLOs by which trials were judged, as written."""
        return list(dict.fromkeys(name for row in self.rows for name in row.margins))

    @cached_property
    def turned(self) -> Sequence[str]:
        """The knobs that were turned in any trial."""
        return list(dict.fromkeys(name for row in self.rows for name in row.changed if not row.first))

    def setting_of(self, row: TrialRow, knob: str) -> Value | None:
        """What a trial's engine ran with; None where neither the trial nor the engine says.

        Where both leave a knob to the engine, the baseline's engine speaks for this one.
        """
        own: Mapping[str, Value] = {**row.record.reported, **row.record.candidate}
        first = self.baseline
        if knob in own or first is None or knob in first.candidate:
            return own.get(knob)
        return first.reported.get(knob)

    @cached_property
    def importance(self) -> Importance | None:
        """How much each knob mattered in the search."""
        seen = []
        for row in self.rows:
            verdict, kind = row.record.verdict, row.record.kind
            if verdict is not None and kind is not TrialKind.CONFIRM:
                settings = {knob: self.setting_of(row, knob) for knob in self.turned}
                seen.append(({knob: value for knob, value in settings.items() if value is not None}, verdict))
        return importance(seen)

    @property
    def href(self) -> str:
        """The address of its page."""
        return f"/studies/{self.study.id}"

    def trial_href(self, number: int) -> str:
        """The address of a trial's page; in a file, of its line."""
        return f"#trial-{number}" if self.alone else f"{self.href}/trials/{number}"

    @property
    def form(self) -> str:
        """How a picture writes values of the objective."""
        return "share" if self.objective.kind is ObjectiveKind.HEADROOM else "plain"

    @property
    def smallest_gain(self) -> float:
        """The smallest gain that matters to whoever began the study; 0: any."""
        return float((self.study.spec.get("budget") or {}).get("smallest_gain") or 0.0)

    @property
    def busy(self) -> str:
        """What it is at, while it runs."""
        at = {StudyState.CREATED: "about to begin", StudyState.CONFIRMING: "confirming the finalist by fresh starts"}
        return at.get(self.study.state, "searching for something better")

    @cached_property
    def running(self) -> TrialRecord | None:
        """The trial that is at work now."""
        return next((one for one in reversed(self.trials) if one.recorded is None), None) if self.live else None

    @property
    def budget(self) -> str:
        """What was spent of what may be."""
        told, allowed = self.overview, self.study.spec.get("budget") or {}
        starts = f"{told['starts']} of {allowed['starts']}" if allowed.get("starts") else str(told["starts"])
        minutes = f" of {allowed['gpu_minutes']:g}" if allowed.get("gpu_minutes") else ""
        return f"{starts} starts, {told['gpu_minutes']:.1f}{minutes} GPU-minutes"

    @cached_property
    def recommendation(self) -> Recommendation:
        """What it recommends, and what was said of it."""
        return Recommendation(self.study, self.baseline, self.rows, self.reviews)

    @cached_property
    def failures(self) -> Mapping[str, Sequence[TrialRow]]:
        """Trials that were started and failed, by cause; the most frequent first."""
        found: dict[str, list[TrialRow]] = {}
        for row in self.rows:
            if row.cause is not None and not row.record.screened:
                found.setdefault(row.cause, []).append(row)
        return dict(sorted(found.items(), key=lambda one: -len(one[1])))

    @property
    def shown(self) -> Sequence[TrialRow]:
        """The rows of the table: the newest that were started, and the first."""
        started = [row for row in self.rows if not row.record.screened]
        return started if len(started) <= MOST_ROWS else [*started[:1], *started[1 - MOST_ROWS :]]

    @property
    def best(self) -> str:
        """The best of the search, against what was found."""
        value = value_of(self.incumbent)
        gain = units.gain(value, self.baseline_value, self.objective)
        same = self.incumbent is not None and self.baseline is not None and self.incumbent.id == self.baseline.id
        return "as found" if same else f"{self.written(value)} {gain}".strip()

    @property
    def measured(self) -> str:
        """What the confirmation measured of both."""
        return measured(self.study)

    @property
    def proven(self) -> str:
        """At which rates both were shown to keep every SLO."""
        return proven(self.study, self.trials)

    @property
    def asked(self) -> str:
        """What was asked of the study, in a sentence."""
        return asked(self.study)

    def written(self, value: float | None) -> str:
        """A value of the objective with its unit."""
        return units.objective_value(value, self.objective)
