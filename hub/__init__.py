"""The event hub: topics, sessions, doors and delivery. It knows nothing of contact centres."""

from importlib.metadata import version

__version__ = version("cx-event-hub")
