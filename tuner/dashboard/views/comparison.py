"""Two studies, or two trials, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuner.core.measurement import Level, Statistic
from tuner.dashboard.views.study import StudyView
from tuner.store import TrialRecord
from tuner.study import units


@dataclass(frozen=True)
class Line:
    """One line of a comparison."""

    name: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        """Whether both say something else."""
        return self.a != self.b


@dataclass(frozen=True)
class StudyComparison:
    """Two studies. Their values are compared only where both measured the same thing."""

    a: StudyView
    b: StudyView

    @cached_property
    def results(self) -> Sequence[Line]:
        """What came of them."""
        return [Line(name, _told(self.a, name), _told(self.b, name)) for name in _RESULTS]

    @cached_property
    def asked(self) -> Sequence[Line]:
        """What was asked of them, as far as it differs."""
        left, right = _flat(self.a.study.spec), _flat(self.b.study.spec)
        lines = [Line(key, left.get(key, "—"), right.get(key, "—")) for key in {**left, **right}]
        return [line for line in lines if line.differs and not line.name.startswith("fingerprint")]

    @cached_property
    def found(self) -> Sequence[Line]:
        """What was found on their targets, as far as it differs."""
        left, right = _flat(self.a.study.info), _flat(self.b.study.info)
        lines = [Line(key, left.get(key, "—"), right.get(key, "—")) for key in {**left, **right}]
        return [line for line in lines if line.differs and line.name not in ("holder", "uid")]

    @cached_property
    def winners(self) -> Sequence[Line]:
        """The settings that each recommends."""
        left, right = self.a.recommendation.settings, self.b.recommendation.settings
        names = {**(left or {}), **(right or {})}
        return [Line(name, _recommended(left, name), _recommended(right, name)) for name in names]

    @property
    def comparable(self) -> bool:
        """Whether one's value means the same as the other's."""
        left, right = self.a.study.spec, self.b.study.spec
        same = all(left.get(name) == right.get(name) for name in ("objective", "slos", "workload"))
        return same and left.get("files", right.get("files")) == right.get("files", left.get("files"))


@dataclass(frozen=True)
class TrialComparison:
    """Two trials of one study."""

    study: StudyView
    a: TrialRecord
    b: TrialRecord

    @cached_property
    def settings(self) -> Sequence[Line]:
        """All knobs that either names."""
        left, right = ({**one.reported, **one.candidate} for one in (self.a, self.b))
        names = {**self.a.candidate, **self.b.candidate}
        return [Line(name, units.setting(left.get(name)), units.setting(right.get(name))) for name in names]

    @cached_property
    def results(self) -> Sequence[Line]:
        """Value, rates and latencies of the levels that speak for them."""
        rows = {row.number: row for row in self.study.rows}
        a, b = rows[self.a.number], rows[self.b.number]
        lines = [
            Line("outcome", a.cause or a.outcome, b.cause or b.outcome),
            Line("value", self.study.written(a.value), self.study.written(b.value)),
            Line("load", _load(self.a), _load(self.b)),
        ]
        for slo in self.study.promised:
            lines.append(Line(f"room to {slo}", units.room(a.margins.get(slo)), units.room(b.margins.get(slo))))
        left, right = _statistics(self.a), _statistics(self.b)
        for metric in (name for name in units.METRICS if name in left or name in right):
            lines.append(
                Line(
                    f"{units.METRICS[metric]} p50 / p95 / p99",
                    units.statistic(left.get(metric)),
                    units.statistic(right.get(metric)),
                )
            )
        for name in ("output_token_rate", "request_rate"):
            lines.append(Line(name.replace("_", " "), _rate(self.a, name), _rate(self.b, name)))
        return lines

    @property
    def levels(self) -> tuple[Level | None, Level | None]:
        """The levels that speak for them."""
        a, b = self.a.measurement, self.b.measurement
        return (a.level if a else None, b.level if b else None)


_RESULTS = ("state", "target", "summary", "baseline", "starts", "failed starts", "GPU-minutes", "created")


def _told(view: StudyView, name: str) -> str:
    if name == "baseline":
        return view.written(view.baseline_value)
    value = view.overview[{"GPU-minutes": "gpu_minutes"}.get(name, name.replace(" ", "_"))]
    return "—" if value is None else str(value)


def _recommended(winner: Mapping[str, Any] | None, name: str) -> str:
    return "recommends nothing" if winner is None else units.setting(winner.get(name))


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping) and value:
            found.update(_flat(value, name))
        elif value not in (None, {}, []):
            found[name] = value if isinstance(value, str) else json.dumps(value)
    return found


def _load(trial: TrialRecord) -> str:
    return str(trial.summary.load) if trial.summary else "—"


def _statistics(trial: TrialRecord) -> Mapping[str, Statistic]:
    return trial.summary.statistics if trial.summary else {}


def _rate(trial: TrialRecord, name: str) -> str:
    return units.number(getattr(trial.summary, name)) if trial.summary else "—"
