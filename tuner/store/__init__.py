"""The database: what happened in every study, kept so that nothing is lost and nothing is done twice."""

from tuner.store.database import StoreError
from tuner.store.records import (
    Decision,
    Phase,
    PhaseRecord,
    Review,
    StudyRecord,
    StudyState,
    TrialKind,
    TrialRecord,
)
from tuner.store.rows import Unknown
from tuner.store.stamps import Stamp
from tuner.store.store import Conflict, Store

__all__ = [
    "Conflict",
    "Decision",
    "Phase",
    "PhaseRecord",
    "Review",
    "Stamp",
    "Store",
    "StoreError",
    "StudyRecord",
    "StudyState",
    "TrialKind",
    "TrialRecord",
    "Unknown",
]
