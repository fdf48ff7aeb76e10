"""Starting processes that race."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WORKER = "tests.integration.store.worker"
ROOT = Path(__file__).parents[3]


def start(what: str, url: str, gun: Path) -> subprocess.Popen[str]:
    """One process, which waits until `gun` is there."""
    command = [sys.executable, "-W", "error", "-m", WORKER, what, url, str(gun)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def race(what: str, url: str, folder: Path, runners: int = 2) -> list[list[str]]:
    """What each of `runners` processes that start at the same moment says; all must end well."""
    gun = folder / "gun"
    gun.unlink(missing_ok=True)
    processes = [start(what, url, gun) for _ in range(runners)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read() if process.stderr else ""
    gun.touch()
    said = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        said.append(out.split("\n")[:-1])
    return said
