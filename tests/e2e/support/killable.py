"""tuner's command line with trip wires: it kills itself before or after the Nth passage of a named point.

    python killable.py start -n NAMESPACE ...

A point is a call of the Kubernetes API ("PATCH deployments", "PATCH deployments dry-run", "POST leases") or a commit to
the database ("commit tuner_trials": the tables written in that transaction). tuner knows nothing of it: what is
wrapped is the HTTP client's request and SQLAlchemy's commit.

TUNER_E2E_KILL="after PATCH deployments 2" dies there by SIGKILL; TUNER_E2E_POINTS=FILE writes every passage down.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections import Counter
from typing import Any

import aiohttp
import sqlalchemy
import sqlalchemy.event
from sqlalchemy.engine import Connection, Engine

_WRITE = re.compile(r"\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM)\s+\"?(\w+)", re.IGNORECASE)
# /api/v1/namespaces/NS/pods/NAME/log, /apis/apps/v1/namespaces/NS/deployments/NAME, /apis/.../deployments/NAME/scale
_RESOURCE = re.compile(r"/apis?(?:/[^/]+)?/v[^/]+/(?:namespaces/[^/]+/)?(?P<kind>[a-z]+)(?:/[^/]+)?(?P<sub>/[a-z]+)?$")


class Wire:
    """Counts passages, writes them down, and kills at the one that was asked for."""

    def __init__(self, kill: str | None, points: str | None) -> None:
        self._kill = kill
        self._file = open(points, "a", buffering=1) if points else None  # noqa: SIM115, PTH123 - open until the end
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def at(self, point: str) -> None:
        """Pass a point ("before PATCH deployments")."""
        with self._lock:
            self._passed[point] += 1
            passage = f"{point} {self._passed[point]}"
            if self._file:
                self._file.write(passage + "\n")
        if passage == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)


def api_call(method: str, url: str, params: Any) -> str | None:
    """The name of a call of the Kubernetes API; None for any other request."""
    path, _, query = str(url).partition("?")
    path = "/" + path.split("://", 1)[-1].partition("/")[2]
    match = _RESOURCE.fullmatch(path)
    if match is None:
        return None
    dry = " dry-run" if "dryRun" in query or "dryRun" in str(params) else ""
    return f"{method.upper()} {match['kind']}{match['sub'] or ''}{dry}"


def wire_api(wire: Wire) -> None:
    """Put wires before and after each call of the Kubernetes API."""
    request = aiohttp.ClientSession._request

    async def wired(self: Any, method: str, url: Any, **options: Any) -> Any:
        call = api_call(method, url, options.get("params"))
        if call:
            wire.at(f"before {call}")
        answer = await request(self, method, url, **options)
        if call:
            wire.at(f"after {call}")
        return answer

    aiohttp.ClientSession._request = wired  # type: ignore[method-assign]


def wire_commits(wire: Wire) -> None:
    """Put wires before and after each commit of a transaction that wrote something."""
    commit = Connection._commit_impl

    def note_write(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if match := _WRITE.match(statement):
            connection.info.setdefault("e2e_written", set()).add(match[1])

    def forget(connection: Connection) -> None:
        connection.info.pop("e2e_written", None)

    def wired(self: Connection) -> None:
        written = self.info.pop("e2e_written", None)
        name = f"commit {' '.join(sorted(written))}" if written else None
        if name:
            wire.at(f"before {name}")
        commit(self)
        if name:
            wire.at(f"after {name}")

    sqlalchemy.event.listen(Engine, "before_cursor_execute", note_write)
    sqlalchemy.event.listen(Engine, "rollback", forget)
    Connection._commit_impl = wired  # type: ignore[method-assign]


def main() -> None:
    """Run tuner's command line with the wires in place."""
    wire = Wire(os.environ.get("TUNER_E2E_KILL"), os.environ.get("TUNER_E2E_POINTS"))
    wire_api(wire)
    wire_commits(wire)
    from tuner.cli.main import main as tuner

    sys.argv[0] = "tuner"
    tuner()


if __name__ == "__main__":
    main()
