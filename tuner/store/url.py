"""Storage URLs: which databases are taken, and how one is shown without its password."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tuner.core.errors import InvalidInput

ALLOWED = "sqlite:///PATH (sqlite:////ABSOLUTE/PATH) or postgresql://USER:PASSWORD@HOST/DATABASE"


def parse_url(text: str) -> URL:
    """Read a storage URL; the path of an SQLite file is made absolute.

    Raises InvalidInput with what is allowed; the message shows no password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        meant = f"; did you mean sqlite:///{text}?" if re.fullmatch(r"[\w./~-]+\.\w+", text) else ""
        raise InvalidInput(f"storage: {masked(text)!r} is not a database URL{meant}; allowed: {ALLOWED}") from None
    backend = url.get_backend_name()
    if backend == "postgresql" and url.drivername in ("postgresql", "postgresql+psycopg"):
        return url
    if backend != "sqlite" or url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise InvalidInput(f"storage: {masked(text)!r} is not a database tuner can use; allowed: {ALLOWED}")
    if url.host or not url.database or url.database == ":memory:" or url.query:
        raise InvalidInput(f"storage: {masked(text)!r} names no file (mind the three slashes); allowed: {ALLOWED}")
    path = Path(url.database).expanduser().absolute()
    return url.set(database=str(path))


def masked(text: str) -> str:
    """The URL with its password hidden, also where it can't be parsed."""
    try:
        shown = make_url(text).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        scheme, separator, rest = text.partition("://")
        shown = scheme + separator + re.sub(r"^[^/]*@", "***@", rest)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", shown)
