"""Alembic versions of the tables of who may call."""
