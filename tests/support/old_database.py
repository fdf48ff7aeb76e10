"""Databases as earlier versions of tuner made them."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from tuner.store import database
from tuner.store.url import parse_url


def make_database(url: str, version: str) -> database.Database:
    """A database with the tables of an earlier migration."""
    made = database.Database(parse_url(url))
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    if made.sqlite:
        made._use_wal()
    with made.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    return made
