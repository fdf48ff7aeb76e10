"""Which start of a confirmation a trial is. Frozen, like every migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("tuner_trials", sa.Column("position", sa.Integer()))


def downgrade() -> None:
    """Drop it again."""
    op.drop_column("tuner_trials", "position")
