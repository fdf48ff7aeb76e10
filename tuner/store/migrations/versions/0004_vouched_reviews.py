"""Whether somebody else than themselves said who decided.

Frozen, like every migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column; of what is there nobody knows."""
    op.add_column("tuner_reviews", sa.Column("vouched", sa.Boolean()))


def downgrade() -> None:
    """Drop it again."""
    op.drop_column("tuner_reviews", "vouched")
