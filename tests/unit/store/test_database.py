"""Opening: tables are made and migrated, Optuna's are left alone, and what can't be opened is said."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from tests.unit.store.entries import make_study
from tuner.store import Store, StoreError, database
from tuner.store.tables import metadata


def differences(url: str) -> list[Any]:
    """What Alembic would change to turn the database into what tables.py says."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=database.migration_options())
            return list(compare_metadata(context, metadata))
    finally:
        engine.dispose()


def test_migrating_makes_the_tables_that_the_code_speaks_of(store: Store) -> None:
    assert differences(store.url) == []


def test_a_missing_column_would_be_seen(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tuner.db") as connection:
        connection.execute("ALTER TABLE tuner_trials DROP COLUMN screened")
    connection.close()
    assert [difference[0] for difference in differences(store.url)] == ["add_column"]


def test_foreign_tables_are_neither_seen_nor_dropped(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trials (trial_id INTEGER)")
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES ('v3.0.0.d')")
    connection.commit()
    with Store.open(f"sqlite:///{path}") as store:
        assert differences(store.url) == []
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("v3.0.0.d",)
    connection.close()


def test_the_newest_migration_is_the_one_that_opening_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [database.HEAD]


def test_readers_and_a_writer_work_at_once_and_foreign_keys_hold(store: Store) -> None:
    with store._database.writing() as writer:
        assert writer.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert writer.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert store.studies() == []
    with pytest.raises(StoreError, match="FOREIGN KEY"), store._database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tuner_phases (trial_id, phase, began) VALUES (99, 'told', '2026-01-01 00:00:00.000000')"
        )


def test_the_folder_is_made_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "share" / "tuner" / "tuner.db"
    Store.open(f"sqlite:///{path}").close()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but somebody's notes" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"notes\.txt: file is not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_damaged_value_is_shown(store: Store) -> None:
    make_study(store)
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE tuner_studies SET spec = '{bad'")
    with pytest.raises(StoreError, match=r"tuner\.db: it is damaged: '\{bad' where JSON belongs"):
        store.studies()


def test_a_path_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store.open(f"sqlite:///{tmp_path}/file/tuner.db")


def test_a_database_of_a_newer_tuner_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "tuner.db")
    connection.execute("UPDATE tuner_alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="another version of tuner"):
        Store.open(store.url)


def test_a_failed_migration_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/tuner.db"

    def upgrade_and_die(connection: Any, shown: str, real: Any = database._upgrade) -> None:
        real(connection, shown)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database, "_upgrade", upgrade_and_die)
        with pytest.raises(KeyboardInterrupt):
            Store.open(url)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    with Store.open(url) as store:
        assert store.studies() == []


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CONNECT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreError, match="timeout"):
        Store.open(f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/studies")
