"""Alembic's scripts: one file per change of the tables, applied when a database is opened."""
