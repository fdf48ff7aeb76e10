"""A PostgreSQL server of the test run's own, where the machine has one installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


def _programs() -> Path | None:
    """The folder of `initdb` and `postgres`: Debian keeps them off the path."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _somebody() -> str | None:
    """PostgreSQL refuses to run as root: who runs it then; None: the user of the tests."""
    if os.geteuid():
        return None
    return "postgres" if "postgres" in {user.pw_name for user in pwd.getpwall()} else "nobody"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The base URL of a server that listens on a Unix socket only."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _somebody()
    # Short, because a socket's path may have 107 bytes; outside pytest's own folder, which only its user can enter.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        run = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        options = ["--auth=trust", "--username=tuner", "--encoding=UTF8", "--no-sync", "--locale=C"]
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", *options], check=True, capture_output=True, cwd=folder, **run
        )
        command = [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-F"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **run)
        try:
            _await(folder, process)
            yield f"postgresql://tuner@/{{database}}?host={folder}"
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _await(folder: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        try:
            psycopg.connect(host=str(folder), user="tuner", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise AssertionError(f"PostgreSQL did not start: {(folder / 'log').read_text()}")


@pytest.fixture
def postgresql(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of one test's own."""
    name = f"t{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(server.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.format(database=name)
    with psycopg.connect(server.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tuner.db'}"
    found: str = request.getfixturevalue("postgresql")
    return found
