"""Alembic versions of the outbox's tables."""
