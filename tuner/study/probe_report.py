"""What one run of the probe came to, as plain data (docs/probe.md has its fields), and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuner import __version__
from tuner.core.cause import Cause, Failure
from tuner.core.measurement import QUANTILES, Answer, Level, Measurement, SloTest
from tuner.core.request import UNFINISHED
from tuner.probe.run import Held
from tuner.store.codec import encode
from tuner.study.probing import Probing
from tuner.study.report import SERIES

#: Counts up when a field goes away or means something else; new fields do not count.
SCHEMA = 1


@dataclass(frozen=True)
class Capacity:
    """What a search for the capacity found, in requests/s; None where it found none.

    `estimate` is where the SLOs cease to hold, from the levels around it; `proven` is the highest rate that passed, and
    `refuted` the lowest one that failed: the capacity lies between these two.
    """

    estimate: float | None
    proven: float | None
    refuted: float | None


@dataclass(frozen=True)
class ProbeResult:
    """What was asked and what came of it.

    `stopped` is the signal that ended it early, `failure` why it could not go on. `wall_s` is how long all of it took,
    warm-up and waiting included.
    """

    asked: Probing
    model: str
    began: datetime
    wall_s: float
    held: tuple[Held, ...]
    measurement: Measurement | None = None
    failure: Failure | None = None
    stopped: str | None = None

    @property
    def probe_s(self) -> float:
        """Seconds spent under load that counts."""
        return sum(held.level.duration_s for held in self.held)

    @property
    def rated(self) -> tuple[Held, ...]:
        """The levels that were asked for, not those by which a search finds its way; void ones left out."""
        return tuple(held for held in self.held if not void(held.level) and (self.asked.loads or held.level.load.rate))

    @property
    def capacity(self) -> Capacity | None:
        """What the search for the capacity found; None where none was asked for, or it did not end."""
        if self.asked.loads or self.measurement is None:
            return None
        rates = [(held.level.load.rate, held.level.answer) for held in self.rated]
        proven = max((rate for rate, answer in rates if rate and answer is Answer.PASS), default=None)
        failed = (rate for rate, answer in rates if rate and answer is Answer.FAIL and rate > (proven or 0.0))
        return Capacity(self.measurement.value, proven, min(failed, default=None))

    @property
    def deciding(self) -> Held | None:
        """The level that speaks for the whole: that of the capacity, or the only one. None where there is no such."""
        if self.measurement is not None:
            return next((held for held in self.held if held.level is self.measurement.level), None)
        return self.held[0] if len(self.held) == len(self.asked.loads) == 1 else None

    @property
    def verdict(self) -> Answer | None:
        """Whether every SLO passed at every level that was asked for, or at some rate where the capacity was asked for.

        None where there was no SLO. What was void, or is missing, is not certain; a server that broke down has failed.
        """
        if not self.asked.slos:
            return None
        if self.failure is not None and self.failure.cause is Cause.CRASH_UNDER_LOAD:
            return Answer.FAIL
        if self.measurement is not None:
            return Answer.PASS if self.measurement.value is not None else self.measurement.level.answer
        if not self.asked.loads:  # of a search that did not end; levels that fail belong to it
            return Answer.UNCERTAIN
        answers = [held.level.answer for held in self.rated]
        if Answer.FAIL in answers:
            return Answer.FAIL
        return Answer.PASS if answers.count(Answer.PASS) == len(answers) >= len(self.asked.loads) else Answer.UNCERTAIN


def void(level: Level) -> str | None:
    """Why what a level shows is not the engine's doing; None where it counts."""
    if level.saturated:
        return "the probe was too slow"
    return "foreign traffic" if level.foreign else None


def failures(level: Level) -> Mapping[str, int]:
    """How many requests failed, by kind; those that still ran at the end did not."""
    return {kind: count for kind, count in level.errors.items() if kind != UNFINISHED}


def margin(test: SloTest) -> float | None:
    """Relative room to the bound: 0.2 is 20 % below it, -0.2 is 20 % over it. None where nothing was observed."""
    return None if test.observed is None else -test.violation


def probe_report(result: ProbeResult, *, series: bool = True) -> dict[str, Any]:
    """Everything that is known of one run; without `series` nothing that only a picture can show."""
    asked, capacity = result.asked, result.capacity
    return {
        "schema": SCHEMA,
        "tuner": __version__,
        "server": {"url": asked.endpoint, "model": result.model, "api": asked.workload.api.value},
        "asked": {
            "levels": [encode(load) for load in asked.loads],
            "stages": encode(asked.extent.stages.stages) if asked.extent and asked.extent.stages else None,
            "capacity": not asked.loads,
            "slos": [str(slo) for slo in asked.slos],
            "requests": asked.extent.requests if asked.extent else None,
            "duration_s": asked.extent.duration_s if asked.extent else None,
            "workload": encode(asked.workload),
            "seed": asked.seed,
            "processes": asked.processes,
        },
        "began": result.began.isoformat(timespec="seconds"),
        "wall_s": result.wall_s,
        "probe_s": result.probe_s,
        "stopped": result.stopped,
        "failure": _failure(result.failure),
        "verdict": result.verdict,
        "capacity": None if capacity is None else _capacity(result, capacity),
        "percentiles": list(QUANTILES),
        "levels": [_level(held, series) for held in result.held],
    }


def _failure(failure: Failure | None) -> Mapping[str, Any] | None:
    if failure is None:
        return None
    return {"cause": failure.cause.value, "message": failure.message, "evidence": failure.evidence}


def _capacity(result: ProbeResult, found: Capacity) -> dict[str, Any]:
    assert result.measurement is not None
    level = result.measurement.level
    return {
        "request_rate": found.estimate,
        "proven_rate": found.proven,
        "refuted_rate": found.refuted,
        "margins": margins(level.tests),
        "deciding_level": result.measurement.deciding,
    }


def margins(tests: Sequence[SloTest]) -> dict[str, float | None]:
    """The room to each SLO's bound, by SLO."""
    return {test.slo: margin(test) for test in tests}


def _level(held: Held, series: bool) -> dict[str, Any]:
    level = held.level
    return {
        **{name: value for name, value in encode(level).items() if series or name not in SERIES},
        "lag_p99_s": None if held.partial else level.lag_p99_s,  # told at a level's end
        "margins": margins(level.tests),
        "recorded": held.recorded,
        "partial": held.partial,
        "void": void(level),
    }
