"""Studies, trials, their phases and levels, and calibrations.

Frozen: it must go on making what it made on the day it was released, so it doesn't use tuner.store.tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "tuner_studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("holder", sa.Text()),
        sa.Column("claimed_until", sa.DateTime()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tuner_studies"),
        sa.UniqueConstraint("name", name="uq_tuner_studies_name"),
    )
    op.create_table(
        "tuner_trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("candidate", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ticket", sa.BigInteger()),
        sa.Column("phase", sa.String(20), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("recorded", sa.DateTime()),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.JSON()),
        sa.Column("measurement", sa.JSON()),
        sa.Column("facts", sa.JSON()),
        sa.Column("failure", sa.JSON()),
        sa.Column("screened", sa.Boolean(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("probe_s", sa.Float(), nullable=False),
        sa.Column("gpu_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tuner_trials"),
        sa.ForeignKeyConstraint(["study_id"], ["tuner_studies.id"], name="fk_tuner_trials_study_id"),
        sa.UniqueConstraint("study_id", "number", name="uq_tuner_trials_study_id_number"),
    )
    op.create_table(
        "tuner_phases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(20), nullable=False),
        sa.Column("began", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tuner_phases"),
        sa.ForeignKeyConstraint(["trial_id"], ["tuner_trials.id"], name="fk_tuner_phases_trial_id"),
    )
    op.create_index("ix_tuner_phases_trial_id", "tuner_phases", ["trial_id"])
    op.create_table(
        "tuner_levels",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("level", sa.JSON(), nullable=False),
        sa.Column("ended", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tuner_levels"),
        sa.ForeignKeyConstraint(["trial_id"], ["tuner_trials.id"], name="fk_tuner_levels_trial_id"),
    )
    op.create_index("ix_tuner_levels_trial_id", "tuner_levels", ["trial_id"])
    op.create_table(
        "tuner_calibrations",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("constants", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_tuner_calibrations"),
    )


def downgrade() -> None:
    """Drop them again."""
    for table in ("calibrations", "levels", "phases", "trials", "studies"):
        op.drop_table(f"tuner_{table}")
