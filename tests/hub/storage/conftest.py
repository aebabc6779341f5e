from tests.hub.storage.backends import database, empty_url, light_database, postgres, sqlite

__all__ = ["database", "empty_url", "light_database", "postgres", "sqlite"]
