"""Why a trial failed: a small set of named causes, decided once, from evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tuner.core.redact import redact


class Cause(StrEnum):
    """The cause of a failed trial. Users meet these words in `tuner show` and in the docs."""

    GPU_OOM_AT_START = "gpu-oom-at-start"
    GPU_OOM_UNDER_LOAD = "gpu-oom-under-load"
    HOST_OOM = "host-oom"
    KV_CACHE_TOO_SMALL = "kv-cache-too-small"
    BAD_FLAG = "bad-flag"
    CRASH_AT_START = "crash-at-start"
    CRASH_UNDER_LOAD = "crash-under-load"
    NOT_APPLIED = "not-applied"  # the engine runs, but not with the candidate's settings
    IMAGE_OR_CONFIG = "image-or-config-error"
    UNSCHEDULABLE = "unschedulable"
    SLOW_START = "slow-start"
    PROBE_ERROR = "probe-error"
    EXTERNAL_CHANGE = "external-change"
    FOREIGN_TRAFFIC = "foreign-traffic"
    UNKNOWN = "unknown"

    @property
    def infrastructure(self) -> bool:
        """True where the candidate is not to blame: such a trial teaches the search nothing and may be run again."""
        return self in _INFRASTRUCTURE


_INFRASTRUCTURE = frozenset(
    {
        Cause.IMAGE_OR_CONFIG,
        Cause.UNSCHEDULABLE,
        Cause.PROBE_ERROR,
        Cause.EXTERNAL_CHANGE,
        Cause.FOREIGN_TRAFFIC,
    }
)


@dataclass(frozen=True)
class Failure:
    """One failure of a trial: its cause, one sentence for people, and the evidence behind both (see `redacted`)."""

    cause: Cause
    message: str
    evidence: str = ""
    # How far the candidate was over the edge, as a fraction, where the engine told (KV cache needed / available - 1).
    overshoot: float | None = None
    # What the engine itself proposed instead, e.g. {"max_model_len": 3968}.
    hint: dict[str, int] | None = None

    def redacted(self) -> Failure:
        """The same without the secrets that logs and messages of others may hold: what is stored and shown."""
        return replace(self, message=redact(self.message), evidence=redact(self.evidence))

    def __str__(self) -> str:
        return f"{self.cause}: {self.message}"


class TrialFailed(Exception):
    """Raised by targets and drivers where a candidate did not become ready or stopped serving."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(str(failure))
