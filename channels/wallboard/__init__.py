"""The wallboard: a live page at ``/`` that shows agents and queues."""

from channels.wallboard.family import family

__all__ = ["family"]
