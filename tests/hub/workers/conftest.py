from tests.hub.storage.backends import postgres

__all__ = ["postgres"]
