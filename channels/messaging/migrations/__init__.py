"""Alembic versions of the tables of messaging."""
