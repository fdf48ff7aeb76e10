"""The tables. All are prefixed, because Optuna's live in the same database and have the plain names."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

PREFIX = "tuner_"
VERSION_TABLE = f"{PREFIX}alembic_version"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An aware time, kept in UTC without its zone: what SQLite and PostgreSQL both sort rightly."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """To UTC. Raises ValueError for a naive time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Aware again."""
        return None if value is None else value.replace(tzinfo=UTC)


class Line(TypeDecorator[str]):
    """Text from logs and users, less what a database can't hold: NUL and lone surrogates become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Replace what can't be held."""
        if value is None:
            return None
        return "".join("�" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)


_Json = JSON(none_as_null=True)

studies = Table(
    f"{PREFIX}studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Line, nullable=False, unique=True),
    Column("target", Line, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("spec", _Json, nullable=False),
    Column("info", _Json, nullable=False),
    Column("state", String(20), nullable=False),
    Column("detail", Line, nullable=False),
    Column("result", _Json),
    Column("holder", Line),
    Column("claimed_until", Moment),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
)

trials = Table(
    f"{PREFIX}trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey(studies.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("candidate", _Json, nullable=False),
    Column("reason", Line, nullable=False),
    Column("ticket", BigInteger),
    Column("position", Integer),
    Column("phase", String(20), nullable=False),
    Column("created", Moment, nullable=False),
    Column("recorded", Moment),
    Column("told", Boolean, nullable=False, default=False),
    Column("verdict", _Json),
    Column("measurement", _Json),
    Column("summary", _Json),
    Column("expected", _Json),
    Column("facts", _Json),
    Column("failure", _Json),
    Column("screened", Boolean, nullable=False, default=False),
    Column("start_s", Float, nullable=False, default=0.0),
    Column("probe_s", Float, nullable=False, default=0.0),
    Column("gpu_s", Float, nullable=False, default=0.0),
    UniqueConstraint("study_id", "number"),
)

phases = Table(
    f"{PREFIX}phases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", ForeignKey(trials.c.id), nullable=False, index=True),
    Column("phase", String(20), nullable=False),
    Column("began", Moment, nullable=False),
)

levels = Table(
    f"{PREFIX}levels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", ForeignKey(trials.c.id), nullable=False, index=True),
    Column("level", _Json, nullable=False),
    Column("ended", Moment, nullable=False),
)

reviews = Table(
    f"{PREFIX}reviews",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey(studies.c.id), nullable=False, index=True),
    Column("decision", String(20), nullable=False),
    Column("comment", Line, nullable=False),
    Column("who", Line, nullable=False),
    Column("made", Moment, nullable=False),
    Column("vouched", Boolean),
)

calibrations = Table(
    f"{PREFIX}calibrations",
    metadata,
    Column("key", Line, primary_key=True),
    Column("constants", _Json, nullable=False),
)
