"""The state of a database, according to its last operations. ``/readyz`` shows it, and each change is logged once."""

from __future__ import annotations

import structlog

from hub.storage.reasons import Reason, reason

_log = structlog.get_logger(__name__)

FOR_GOOD = frozenset({Reason.DAMAGED})
"""Faults that a successful operation does not clear: not every operation reads the damaged page."""


class Condition:
    """The state of one database. Any thread may update it; the last update counts."""

    __slots__ = ("_failures", "_name", "trouble")

    def __init__(self, name: str) -> None:
        """``name`` is the name of the database in log events, such as ``hub.db``."""
        self._name = name
        self._failures = 0
        self.trouble: Reason | None = None
        """What is wrong; None if nothing is."""

    def failed(self, error: BaseException) -> None:
        """Note that an operation failed because of a fault of the database."""
        why = reason(error)
        self._failures += 1
        if why is self.trouble or self.trouble in FOR_GOOD:
            return
        self.trouble = why
        _log.error("database_in_trouble", database=self._name, reason=str(why), fault=str(error))

    def worked(self) -> None:
        """Note that an operation succeeded."""
        if self.trouble is None or self.trouble in FOR_GOOD:
            return
        self.trouble = None
        _log.warning("database_works_again", database=self._name, failed_operations=self._failures)
        self._failures = 0
