"""Databases to change, while others use the original."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def copy_of(url: str, path: Path) -> str:
    """Copy an SQLite database with what is still in its log; the URL of the copy."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    return f"sqlite:///{path}"
