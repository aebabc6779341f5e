"""Removes mails for good that were deleted ``secure_email.keep_deleted_days`` ago."""

from __future__ import annotations

from typing import Final

from channels.secure_email import store
from channels.secure_email.counters import Counters
from channels.secure_email.settings import SecureEmailSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.storage.transactions import Transactions

EVERY_S: Final = 3600.0

MAX_AT_ONCE: Final = 20
"""Mails that one transaction removes at most, with their attachments. Other transactions run between two of them."""

_DAY_MS: Final = 86_400_000


class MailRetention(RetentionJob):
    """Removes old mails once an hour, for the first time at the start."""

    def __init__(self, transactions: Transactions, clock: Clock, settings: SecureEmailSettings, counters: Counters) -> None:
        super().__init__("secure_email.retention", period_s=EVERY_S, failed="secure_mails_not_trimmed")
        self._transactions = transactions
        self._clock = clock
        self._settings = settings
        self._counters = counters

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
