"""The database: what happened in every study, kept so that nothing is lost and nothing is done twice."""

from tuner.store.database import StoreError
from tuner.store.records import Phase, PhaseRecord, StudyRecord, StudyState, TrialKind, TrialRecord
from tuner.store.store import Conflict, Store

__all__ = [
    "Conflict",
    "Phase",
    "PhaseRecord",
    "Store",
    "StoreError",
    "StudyRecord",
    "StudyState",
    "TrialKind",
    "TrialRecord",
]
