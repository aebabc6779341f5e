"""How a database is, by what its users saw last: ``/readyz`` tells it, and the log hears of each change once."""

from __future__ import annotations

import structlog

from hub.storage.reasons import Reason, reason

_log = structlog.get_logger(__name__)

FOR_GOOD = frozenset({Reason.DAMAGED})
"""What no success ends: a page that is damaged is not met by each operation."""


class Condition:
    """One database's. Threads may call it; the last one to do so is believed."""

    __slots__ = ("_failures", "_name", "trouble")

    def __init__(self, name: str) -> None:
        """``name``: what the log calls it, such as ``hub.db``."""
        self._name = name
        self._failures = 0
        self.trouble: Reason | None = None
        """What is wrong, None when nothing is."""

    def failed(self, error: BaseException) -> None:
        """The database, and not what was asked of it, made an operation fail."""
        why = reason(error)
        self._failures += 1
        if why is self.trouble or self.trouble in FOR_GOOD:
            return
        self.trouble = why
        _log.error("database_in_trouble", database=self._name, reason=str(why), fault=str(error))

    def worked(self) -> None:
        """An operation succeeded."""
        if self.trouble is None or self.trouble in FOR_GOOD:
            return
        self.trouble = None
        _log.warning("database_works_again", database=self._name, failed_operations=self._failures)
        self._failures = 0
