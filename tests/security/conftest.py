"""The Authentication API on a real database, for whoever attacks it."""

from __future__ import annotations

from tests.channels.auth.conftest import clock, database, empty_url, light_database, postgres, server, sqlite

__all__ = ["clock", "database", "empty_url", "light_database", "postgres", "server", "sqlite"]
