"""One thing that was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"  # what was looked for and found
    NOTE = "note"  # worth knowing
    WARNING = "warning"  # works, and will hurt
    BLOCKER = "blocker"  # the engine does not start, or it can't be tuned


@dataclass(frozen=True)
class Finding:
    """One finding. `where` is the object ("Deployment llm"), `subject` what it is about (a flag, a knob, a field).

    `instead` is what to write (one line, or lines of YAML). `line` counts from 1, where a file was read. No text has a
    secret or a value of an environment variable in it.
    """

    severity: Severity
    where: str
    subject: str
    text: str
    instead: str | None = None
    line: int | None = None
