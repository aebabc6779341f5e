"""Versions of the outbox's tables."""
