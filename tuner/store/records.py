"""What the store hands out: studies, trials and their history as frozen facts. All times are aware, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tuner.core.cause import Failure
from tuner.core.expected import Expected
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value
from tuner.core.measurement import Level, Measurement, Verdict
from tuner.core.summary import Summary


class StudyState(StrEnum):
    """Where a study stands. One that is not finished is resumed; `stopped` ended early on purpose (a signal)."""

    CREATED = "created"
    SEARCHING = "searching"
    CONFIRMING = "confirming"
    FINISHED = "finished"
    STOPPED = "stopped"


class TrialKind(StrEnum):
    """What a trial is for."""

    BASELINE = "baseline"
    SEARCH = "search"
    CONFIRM = "confirm"


class Phase(StrEnum):
    """The phases of a trial, in order; each is in the database before it begins."""

    SUGGESTED = "suggested"
    SCREENING = "screening"
    STARTING = "starting"
    WARMING_UP = "warming-up"
    PROBING = "probing"
    JUDGING = "judging"
    RECORDED = "recorded"
    TOLD = "told"


@dataclass(frozen=True)
class PhaseRecord:
    """One phase and when it began. A phase may occur again where a trial was taken up after a crash."""

    phase: Phase
    began: datetime


@dataclass(frozen=True)
class StudyRecord:
    """A study as stored. `holder` is who works on it, until `claimed_until` unless renewed; None: nobody."""

    id: int
    name: str
    target: str
    fingerprint: str
    spec: Mapping[str, Any]
    info: Mapping[str, Any]
    state: StudyState
    detail: str
    result: Mapping[str, Any] | None
    holder: str | None
    claimed_until: datetime | None
    created: datetime
    updated: datetime


@dataclass(frozen=True)
class TrialRecord:
    """A trial as stored. Until `recorded`, verdict, measurement, facts and the costs are empty.

    `levels` are kept as they end: a trial that was killed while probing has some without a measurement. `summary` is
    there where a measurement is; a trial that was read in short has no other, and no levels.
    `failure` is set where the trial failed, also without a verdict (infrastructure) or by the planner (`screened`).
    `expected` is what was expected of it before it ran; None where nothing could be.
    `position` is which start of a confirmation this is; None in the search.
    """

    id: int
    study_id: int
    number: int
    kind: TrialKind
    candidate: Candidate
    reason: str
    ticket: int | None
    phase: Phase
    created: datetime
    position: int | None = None
    recorded: datetime | None = None
    told: bool = False
    verdict: Verdict | None = None
    measurement: Measurement | None = None
    summary: Summary | None = None
    expected: Expected | None = None
    facts: EngineFacts | None = None
    failure: Failure | None = None
    screened: bool = False
    start_s: float = 0.0
    probe_s: float = 0.0
    gpu_s: float = 0.0
    levels: tuple[Level, ...] = ()
    phases: tuple[PhaseRecord, ...] = ()

    @property
    def reported(self) -> Mapping[str, Value]:
        """The settings that its engine said it runs with; empty where it said nothing."""
        return (self.facts and self.facts.settings) or {}

    @property
    def lost(self) -> bool:
        """Whether its start told nothing of the candidate, as where infrastructure failed: no budget counts it."""
        return self.recorded is not None and self.verdict is None and not self.screened


class Decision(StrEnum):
    """What somebody made of a study's winner; `applied` and `undone` say what was done with it.

    `failed` is an attempt at either that came to nothing; the comment says at which, and why.
    """

    APPROVED = "approved"
    REJECTED = "rejected"
    APPLIED = "applied"
    UNDONE = "undone"
    FAILED = "failed"


@dataclass(frozen=True)
class Review:
    """One decision on a study's winner. `who` is the name under which somebody was known to the dashboard.

    `vouched`: whether a trusted proxy said that it was they (else they said so themselves); None: nobody kept that.
    """

    study_id: int
    decision: Decision
    comment: str
    who: str
    made: datetime
    vouched: bool | None = None
