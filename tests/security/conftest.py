"""The Authentication API on a real database, for whoever attacks it."""

from __future__ import annotations

from tests.channels.auth.conftest import clock, database, empty_url, light_database, postgres, server, sqlite
from tests.hub.security.conftest import quick_hashes, real_hashes

__all__ = ["clock", "database", "empty_url", "light_database", "postgres", "quick_hashes", "real_hashes", "server", "sqlite"]
