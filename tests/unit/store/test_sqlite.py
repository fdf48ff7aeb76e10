"""SQLite files that may not be written: they are read as they are now, and nothing is made beside them."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.old_database import make_database
from tests.unit.store.entries import LATER, NOW, make_study, make_trial
from tuner.store import Store, StoreError, database

ROOT = Path(__file__).parents[3]

# Says the names of the studies, and whatever goes wrong, once for each line that it is given.
_READER = """
import sys
from tuner.store import Store, StoreError
try:
    with Store.open(sys.argv[1], read_only=sys.argv[2] == "reader") as store:
        for _ in sys.stdin:
            print(*[study.name for study in store.studies()], flush=True)
except StoreError as error:
    print(f"refused: {error}", flush=True)
"""


def _obey_modes() -> None:
    """Give up root's rights over files, which the next exec would renew: another user may not get at this checkout."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


class Reader:
    """Another process, which obeys the modes of files."""

    def __init__(self, url: str, mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-c", _READER, url, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=_obey_modes if os.geteuid() == 0 else None,
        )

    def says(self) -> str:
        """What it reads now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.poll() is None:
            try:
                self.process.stdin.write("\n")
                self.process.stdin.flush()
            except BrokenPipeError:  # it has said why
                pass
        return self.process.stdout.readline().rstrip("\n")


@contextmanager
def reading(folder: Path, mode: str = "reader") -> Iterator[Reader]:
    reader = Reader(f"sqlite:///{folder}/t.db", mode)
    try:
        yield reader
    finally:
        reader.process.communicate(timeout=30)


@contextmanager
def shut(folder: Path, *, file: bool = True, itself: bool = True) -> Iterator[None]:
    """Nothing in the folder (`file`) may be written, or no file may be made in it (`itself`)."""
    for one in folder.iterdir() if file else ():
        one.chmod(0o444)
    folder.chmod(0o555 if itself else 0o755)
    try:
        yield
    finally:
        folder.chmod(0o755)
        for one in folder.iterdir():
            one.chmod(0o644)


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    """A folder with a database in it and nothing else."""
    path = tmp_path / "a b"
    path.mkdir()
    shutil.copyfile(empty_database, path / "t.db")
    with Store.open(f"sqlite:///{path}/t.db") as store:
        make_study(store, "first")
    assert [one.name for one in path.iterdir()] == ["t.db"]
    return path


@pytest.mark.parametrize("mode", ["reader", "writer"])
@pytest.mark.parametrize(("file", "itself"), [(True, True), (True, False), (False, True)])
def test_a_database_that_may_only_be_read_can_be_read(folder: Path, mode: str, file: bool, itself: bool) -> None:
    with shut(folder, file=file, itself=itself), reading(folder, mode) as reader:
        assert reader.says() == "first"
        assert [one.name for one in folder.iterdir()] == ["t.db"]


def test_whoever_may_only_read_sees_at_once_what_others_write(folder: Path) -> None:
    with reading(folder) as reader:
        with shut(folder):
            assert reader.says() == "first"
        with Store.open(f"sqlite:///{folder}/t.db") as writer:
            make_study(writer, "second")
            with shut(folder):
                assert reader.says() == "first second"
                make_study(writer, "third")
                assert reader.says() == "first second third"
        with shut(folder):
            assert reader.says() == "first second third"


def test_a_reader_that_stays_does_not_hold_a_writer_up(folder: Path) -> None:
    url = f"sqlite:///{folder}/t.db"
    with Store.open(url, read_only=True) as reader, Store.open(url) as writer:
        with reader._database.reading() as connection:
            connection.exec_driver_sql("SELECT * FROM tuner_studies").all()
            make_study(writer, "second")
            assert len(connection.exec_driver_sql("SELECT * FROM tuner_studies").all()) == 1  # one moment in time
        assert [study.name for study in reader.studies()] == ["first", "second"]


def crashed(folder: Path, into: Path, *names: str) -> Path:
    """What a writer that was killed leaves of its files: `names`."""
    into.mkdir()
    with Store.open(f"sqlite:///{folder}/t.db") as writer:
        make_study(writer, "second")
        for name in names:
            shutil.copyfile(folder / name, into / name)
    return into


def test_the_log_of_a_killed_writer_is_read(folder: Path, tmp_path: Path) -> None:
    left = crashed(folder, tmp_path / "left", "t.db", "t.db-wal", "t.db-shm")
    with shut(left), reading(left) as reader:
        assert reader.says() == "first second"


def test_a_log_that_can_not_be_read_is_told_rather_than_left_out(folder: Path, tmp_path: Path) -> None:
    left = crashed(folder, tmp_path / "left", "t.db", "t.db-wal")
    with shut(left), reading(left) as reader:
        said = reader.says()
    assert said.startswith("refused: storage sqlite:///")
    assert "t.db-wal, which can't be read without a file t.db-shm" in said
    with reading(left) as reader:  # where that may be made
        assert reader.says() == "first second"


def test_an_empty_log_is_no_obstacle(folder: Path) -> None:
    (folder / "t.db-wal").touch()
    with shut(folder), reading(folder) as reader:
        assert reader.says() == "first"


def test_a_link_to_a_database_is_followed_to_its_log(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "t.db").symlink_to(folder / "t.db")
    with Store.open(f"sqlite:///{folder}/t.db") as writer:
        make_study(writer, "second")
        with shut(folder), reading(tmp_path / "links") as reader:
            assert reader.says() == "first second"


def test_a_database_that_took_the_place_of_another_is_read(folder: Path, empty_database: Path) -> None:
    with Store.open(f"sqlite:///{folder}/t.db", read_only=True) as reader:
        assert [study.name for study in reader.studies()] == ["first"]
        for one in folder.iterdir():
            one.unlink()
        shutil.copyfile(empty_database, folder / "t.db")
        assert reader.studies() == []


def test_nothing_is_written_by_one_who_reads(store: Store, tmp_path: Path) -> None:
    study = make_study(store)
    trial = make_trial(store, study)
    with Store.open(store.url, read_only=True) as reader:
        for attempt in (
            lambda: make_study(reader, "b"),
            lambda: make_trial(reader, study),
            lambda: reader.set_result(study.id, {}),
            lambda: reader.mark_told(trial.id, NOW),
            lambda: reader.claims.take(study.id, "me", LATER, 60),
            lambda: reader.calibrations.keep("key", {}),
            lambda: reader.discard(study.id),
            lambda: reader.setup_lock().__enter__(),
        ):
            with pytest.raises(StoreError, match="opened to be read"):
                attempt()
        with pytest.raises(StoreError, match="readonly database"), reader._database.reading() as connection:
            connection.exec_driver_sql("DELETE FROM tuner_trials")
        assert reader.trials(study.id) == store.trials(study.id) == [trial]
    assert not (tmp_path / "tuner.db.lock").exists()


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"t\.db: there is no such file yet; `tuner start` makes it"):
        Store.open(f"sqlite:///{tmp_path}/no/t.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_tables_is_left_without(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE trials (trial_id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="has no studies; `tuner studies`"):
        Store.open(f"sqlite:///{tmp_path}/t.db", read_only=True)


@pytest.mark.parametrize(("version", "said"), [("0002", "`tuner studies`.* brings it up to date"), ("9999", "newer")])
def test_tables_of_another_version_are_not_touched(tmp_path: Path, version: str, said: str) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    made = make_database(url, min(version, database.HEAD))
    with made.writing() as connection:
        connection.exec_driver_sql(f"UPDATE tuner_alembic_version SET version_num = '{version}'")
    made.close()
    with pytest.raises(StoreError, match=said):
        Store.open(url, read_only=True)
    with pytest.raises(StoreError, match=said):  # still
        Store.open(url, read_only=True)
