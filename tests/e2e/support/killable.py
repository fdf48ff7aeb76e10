"""tuner's command line with trip wires: it kills itself before or after the Nth passage of a named point.

    python killable.py start -n NAMESPACE ...

A point is a call of the Kubernetes API or a commit to the database, "before" it leaves or "after" its answer is there:

    POST leases, GET pods/log, DELETE replicasets, ...
    PATCH deployments dry-run     the check of a change
    PATCH deployments start       a candidate, with the original kept beside it
    PATCH deployments template    a restore's first step: flags and pod template
    PATCH deployments strategy    its second: how updates roll, once the last trial's pods are gone
    PATCH deployments ownership   its last: owners given back and the kept original removed
    PATCH replicasets             the kept original's copies taken off the rollout history
    commit record, commit enter_phase starting, ...    by the store's method, whose transaction it ends
    commit optuna trials, ...                          Optuna's own, by the tables it wrote

tuner knows nothing of it: what is wrapped is the HTTP client's request, the store's methods and SQLAlchemy's commit.
TUNER_E2E_KILL="after PATCH deployments start 2" dies there by SIGKILL (another signal: TUNER_E2E_SIGNAL=SIGINT; SIGSTOP
makes a pause). TUNER_E2E_POINTS=FILE writes every passage down.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import sqlalchemy
import sqlalchemy.event
from sqlalchemy.engine import Connection, Engine

_WRITE = re.compile(r"\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM)\s+\"?(\w+)", re.IGNORECASE)
# /api/v1/namespaces/NS/pods/NAME/log, /apis/apps/v1/namespaces/NS/deployments/NAME, /apis/.../deployments/NAME/scale
_RESOURCE = re.compile(r"/apis?(?:/[^/]+)?/v[^/]+/(?:namespaces/[^/]+/)?(?P<kind>[a-z]+)(?:/[^/]+)?(?P<sub>/[a-z]+)?$")
_ORIGINAL = "tuner.dev/original"


class Wire:
    """Counts passages, writes them down, and kills at the one that was asked for."""

    def __init__(self, kill: str | None, by: signal.Signals, points: str | None) -> None:
        self._kill, self._by = kill, by
        self._file = open(points, "a", buffering=1) if points else None  # noqa: SIM115, PTH123 - open until the end
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def at(self, point: str) -> None:
        """Pass a point ("before PATCH deployments start")."""
        with self._lock:
            self._passed[point] += 1
            passage = f"{point} {self._passed[point]}"
            if self._file:
                self._file.write(passage + "\n")
        if passage == self._kill:
            os.kill(os.getpid(), self._by)


def api_call(method: str, url: str, params: Any, body: Any = None) -> str | None:
    """The name of a call of the Kubernetes API; None for any other request."""
    path, _, query = str(url).partition("?")
    path = "/" + path.split("://", 1)[-1].partition("/")[2]
    match = _RESOURCE.fullmatch(path)
    if match is None:
        return None
    call = f"{method.upper()} {match['kind']}{match['sub'] or ''}"
    if "dryRun" in query or "dryRun" in str(params):
        return f"{call} dry-run"
    return f"{call} {_change(body)}" if call == "PATCH deployments" else call


def _change(body: Any) -> str:
    """What a patch of a Deployment is for, by what it changes."""
    patch = json.loads(body) if isinstance(body, str | bytes) else body or {}
    kept = patch.get("metadata", {}).get("annotations", {})
    if _ORIGINAL in kept:
        return "ownership" if kept[_ORIGINAL] is None else "start"
    return "template" if "template" in patch.get("spec", {}) else "strategy"


def wire_api(wire: Wire) -> None:
    """Put wires before and after each call of the Kubernetes API."""
    request = aiohttp.ClientSession._request

    async def wired(self: Any, method: str, url: Any, **options: Any) -> Any:
        call = api_call(method, url, options.get("params"), options.get("data") or options.get("json"))
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
    current = threading.local()
    name_methods(current)

    def note_write(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if match := _WRITE.match(statement):
            connection.info.setdefault("e2e_written", set()).add(match[1])

    def forget(connection: Connection) -> None:
        connection.info.pop("e2e_written", None)

    def wired(self: Connection) -> None:
        written = self.info.pop("e2e_written", None)
        method = getattr(current, "method", None) or f"optuna {' '.join(sorted(written or ()))}"
        if written:
            wire.at(f"before commit {method}")
        commit(self)
        if written:
            wire.at(f"after commit {method}")

    sqlalchemy.event.listen(Engine, "before_cursor_execute", note_write)
    sqlalchemy.event.listen(Engine, "rollback", forget)
    Connection._commit_impl = wired  # type: ignore[method-assign]


def name_methods(current: threading.local) -> None:
    """Let `current.method` say which method of the store a thread is in, phases and states by their name."""
    from tuner.store import Phase, Store
    from tuner.store.records import StudyState

    def named(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            words = [one.value for one in arguments if isinstance(one, Phase | StudyState)]
            current.method = " ".join([name, *words])
            try:
                return method(*arguments, **options)
            finally:
                current.method = None

        return wrapped

    for name, method in list(vars(Store).items()):
        if callable(method) and not name.startswith("_"):
            setattr(Store, name, named(name, method))


def main() -> None:
    """Run tuner's command line with the wires in place."""
    by = signal.Signals[os.environ.get("TUNER_E2E_SIGNAL", "SIGKILL")]
    wire = Wire(os.environ.get("TUNER_E2E_KILL"), by, os.environ.get("TUNER_E2E_POINTS"))
    wire_api(wire)
    wire_commits(wire)
    from tuner.cli.main import main as tuner

    sys.argv[0] = "tuner"
    tuner()


if __name__ == "__main__":
    main()
