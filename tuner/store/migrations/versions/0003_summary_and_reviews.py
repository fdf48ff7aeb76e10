"""For pages: measurements in short, what was expected, what people said of a winner, and how often a study changed.

Frozen, like every migration.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns, fill the one that can be, and create the table."""
    op.add_column("tuner_studies", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tuner_trials", sa.Column("summary", sa.JSON()))
    op.add_column("tuner_trials", sa.Column("expected", sa.JSON()))
    op.create_table(
        "tuner_reviews",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(20), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("made", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tuner_reviews"),
        sa.ForeignKeyConstraint(["study_id"], ["tuner_studies.id"], name="fk_tuner_reviews_study_id"),
    )
    op.create_index("ix_tuner_reviews_study_id", "tuner_reviews", ["study_id"])
    _summarise()


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("tuner_reviews")
    op.drop_column("tuner_trials", "expected")
    op.drop_column("tuner_trials", "summary")
    op.drop_column("tuner_studies", "revision")


def _summarise() -> None:
    trials = sa.table(
        "tuner_trials", sa.column("id", sa.Integer), sa.column("measurement", sa.JSON), sa.column("summary", sa.JSON)
    )
    connection = op.get_bind()
    measured = connection.execute(sa.select(trials.c.id).where(trials.c.measurement.is_not(None))).scalars().all()
    for trial_id in measured:  # one by one: a measurement may take a megabyte
        query = sa.select(trials.c.measurement).where(trials.c.id == trial_id)
        measurement = connection.execute(query).scalar_one()
        if measurement is not None:
            change = sa.update(trials).where(trials.c.id == trial_id).values(summary=_summary(measurement))
            connection.execute(change)


def _summary(measurement: dict[str, Any]) -> dict[str, Any]:
    deciding = measurement["levels"][measurement["deciding"]]
    kept = ("load", "answer", "request_rate", "output_token_rate", "total_token_rate", "statistics", "tests")
    return {
        "value": measurement["value"],
        **{name: deciding[name] for name in kept},
        "levels": [
            {
                "load": level["load"],
                "answer": level["answer"],
                "duration_s": level["duration_s"],
                "void": bool(level.get("saturated") or level.get("foreign")),
            }
            for level in measurement["levels"]
        ],
    }
