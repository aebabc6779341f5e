"""Removes mails for good that were deleted ``secure_email.keep_deleted_days`` ago."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from channels.secure_email import store
from channels.secure_email.counters import Counters
from channels.secure_email.settings import SecureEmailSettings
from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.storage.transactions import StorageError, Transactions

_log = structlog.get_logger(__name__)

EVERY_S: Final = 3600.0

MAX_AT_ONCE: Final = 20
"""Mails that one transaction removes at most, with their attachments. Other transactions run between two of them."""

_DAY_MS: Final = 86_400_000


class RetentionJob:
    """A service that removes old mails once an hour."""

    __slots__ = ("_clock", "_counters", "_settings", "_task", "_transactions")

    def __init__(self, transactions: Transactions, clock: Clock, settings: SecureEmailSettings, counters: Counters) -> None:
        self._transactions = transactions
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._task = BackgroundTask("secure_email.retention")

    async def start(self) -> None:
        """Start the hourly rounds; the first one runs at once."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop them; a second call does nothing."""
        await self._task.stop()

    async def trim(self) -> int:
        """Remove old mails now. Returns how many were removed.

        Raises:
            StorageError: the database cannot be written.
        """
        before_ms = self._clock.wall_ms() - self._settings.keep_deleted_days * _DAY_MS
        total = 0
        while removed := await self._transactions.write(lambda tx: store.trim(tx, before_ms, MAX_AT_ONCE)):
            total += removed
        self._counters.trimmed += total
        return total

    async def _run(self) -> None:
        while True:
            try:
                await self.trim()
            except StorageError:
                _log.exception("secure_mails_not_trimmed")
            await asyncio.sleep(EVERY_S)
