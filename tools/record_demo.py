"""Packs a database as the recording that `tuner dashboard --demo` shows: `make demo-recording`.

Names of people, processes and places are taken out, and the file is as small as it gets and the same each time.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
from pathlib import Path


def main(source: str, target: str) -> None:
    """Pack `source` into `target`."""
    with sqlite3.connect(source) as database:
        for study_id, info, spec in database.execute("SELECT id, info, spec FROM tuner_studies").fetchall():
            kept = (json.dumps({**json.loads(info), "by": "demo"}), json.dumps({**json.loads(spec), "storage": None}))
            query = "UPDATE tuner_studies SET info = ?, spec = ?, holder = NULL WHERE id = ?"
            database.execute(query, (*kept, study_id))
        database.commit()
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("VACUUM")
    Path(target).write_bytes(gzip.compress(Path(source).read_bytes(), 9, mtime=0))
    print(f"{target}: {Path(target).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
