"""Alembic versions of the tables of secure e-mail."""
