"""Alembic versions of the tables of interactions."""
