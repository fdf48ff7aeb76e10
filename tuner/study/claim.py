"""The sole right of one process to work on a study, kept in the database while it works."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tuner.core.errors import Refused
from tuner.store import Store, StoreError, StudyRecord, StudyState

#: A claim outlives a crashed process by this long on another host; on the same host the dead process is seen at once.
LASTS_S = 60.0


@dataclass(frozen=True)
class Claim:
    """This process's claim on a study. Its times are real ones, also where a study's are simulated."""

    store: Store
    lasts_s: float = LASTS_S
    holder: str = field(default_factory=lambda: f"{_here()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")

    def take(self, study: StudyRecord) -> None:
        """Take it. Raises Refused where another process that may live works on the study."""
        if self.store.claims.take(study.id, self.holder, datetime.now(UTC), self.lasts_s):
            return
        other = self.store.study_by_id(study.id).holder or ""
        if _dead(other):
            self.store.claims.release(study.id, other)
            if self.store.claims.take(study.id, self.holder, datetime.now(UTC), self.lasts_s):
                return
        raise Refused(f"study {study.name!r} is being worked on by {other}; use --new for another study beside it")

    async def lost(self, study: StudyRecord) -> str:
        """Renew it until it is lost, and return how. A database that fails is asked again while the claim lasts."""
        renewed, pause = time.monotonic(), self.lasts_s / 4
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            try:
                async with asyncio.timeout(renewed + self.lasts_s - began):
                    kept = await asyncio.to_thread(
                        self.store.claims.renew, study.id, self.holder, datetime.now(UTC), self.lasts_s
                    )
            except (StoreError, TimeoutError) as error:
                if time.monotonic() + pause < renewed + self.lasts_s:
                    continue
                return f"the claim on the study could not be renewed: {str(error) or 'no answer'}"
            if not kept:
                return "somebody else has taken the study over"
            renewed = began

    def release(self, study: StudyRecord) -> None:
        """Give it up; nothing happens where another process has taken it."""
        self.store.claims.release(study.id, self.holder)


def abandoned(study: StudyRecord, now: datetime) -> bool:
    """Whether a study that is under way, by its record, has nobody who works on it: its process was killed."""
    claimed = study.state is StudyState.CREATED and study.holder is not None
    if not claimed and study.state not in (StudyState.SEARCHING, StudyState.CONFIRMING):
        return False
    expired = study.claimed_until is None or study.claimed_until <= now
    return study.holder is None or expired or _dead(study.holder)


def _dead(holder: str) -> bool:
    """Whether `holder` (host:pid:id) was a process of this host that no longer runs."""
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    if host != _here() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, as somebody else's
        pass
    return False


def _here() -> str:
    """The host, and on Linux whose process ids these are: a container may share the name, and not the ids."""
    name = socket.gethostname()
    try:
        return f"{name}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return name
