from __future__ import annotations

from tests.hub.security.conftest import access, access_both, clock
from tests.hub.storage.backends import database, empty_url, light_database, postgres, sqlite

__all__ = ["access", "access_both", "clock", "database", "empty_url", "light_database", "postgres", "sqlite"]
