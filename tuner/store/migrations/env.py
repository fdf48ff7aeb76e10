"""Alembic's entry: it is given a connection on which a transaction is already open, and sees our tables only."""

from __future__ import annotations

from alembic import context

from tuner.store.database import migration_options

context.configure(connection=context.config.attributes["connection"], **migration_options())
with context.begin_transaction():
    context.run_migrations()
