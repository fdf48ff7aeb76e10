"""What the tests run in processes of their own: each waits for the starting gun, so that they really race."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.store import Phase, Store, TrialKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def wait_for(gun: Path) -> None:
    """Busy until the file is there; says first that it is ready."""
    print("ready", flush=True)
    while not gun.exists():
        time.sleep(0.0005)


def create(url: str, gun: Path) -> None:
    """Open a database that may not exist yet, with Optuna's tables in it."""
    from optuna.storages import RDBStorage

    wait_for(gun)
    with Store.open(url) as store:
        with store.setup_lock():
            storage = RDBStorage(store.url)
        print(len(store.studies()), len(storage.get_all_studies()))


def claim(url: str, gun: Path) -> None:
    """Try to take study 1."""
    with Store.open(url) as store:
        wait_for(gun)
        print(store.claims.take(1, f"holder-{os.getpid()}", NOW, 60))


def add(url: str, gun: Path) -> None:
    """Add 10 trials to study 1."""
    with Store.open(url) as store:
        wait_for(gun)
        for index in range(10):
            candidate = Candidate.of(index=index, pid=os.getpid())
            trial = store.add_trial(1, kind=TrialKind.SEARCH, candidate=candidate, reason="", ticket=None, now=NOW)
            print(trial.number)


def work(url: str, gun: Path) -> None:
    """Run trials through their phases for ever, saying what is committed."""
    with Store.open(url) as store:
        wait_for(gun)
        while True:
            trial = store.add_trial(1, kind=TrialKind.SEARCH, candidate=Candidate(), reason="", ticket=None, now=NOW)
            print(trial.number, Phase.SUGGESTED, flush=True)
            for phase in (Phase.STARTING, Phase.PROBING):
                store.enter_phase(trial.id, phase, NOW)
                print(trial.number, phase, flush=True)
            store.record(trial.id, verdict=Verdict(float(trial.number), {}), now=NOW)
            print(trial.number, Phase.RECORDED, flush=True)
            store.mark_told(trial.id, NOW)
            print(trial.number, Phase.TOLD, flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
