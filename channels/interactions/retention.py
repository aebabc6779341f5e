"""Deletes interactions that have been over for ``interactions.keep_days``."""

from __future__ import annotations

from typing import Final

from channels.interactions import store
from channels.interactions.service import InteractionService
from channels.interactions.settings import InteractionsSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.storage.transactions import Transactions

EVERY_S: Final = 60.0

MAX_AT_ONCE: Final = 500
"""Interactions that one transaction deletes at most. Other transactions run between two of them."""

_DAY_MS: Final = 86_400_000


class InteractionRetention(RetentionJob):
    """Deletes old interactions once a minute, from a minute after the start on."""

    def __init__(self, interactions: InteractionService, transactions: Transactions, clock: Clock, settings: InteractionsSettings) -> None:
        super().__init__("interactions.retention", period_s=EVERY_S, first_after_s=EVERY_S, failed="interactions_not_trimmed")
        self._interactions = interactions
        self._transactions = transactions
        self._clock = clock
        self._settings = settings

    async def trim(self) -> int:
        """Delete old interactions now. Returns how many were deleted.

        Raises:
            StorageError: the database cannot be written.
        """
        before_ms = self._clock.wall_ms() - round(self._settings.keep_days * _DAY_MS)
        total = 0
        while deleted := await self._transactions.write(lambda tx: store.trim(tx, before_ms, MAX_AT_ONCE)):
            total += deleted
        self._interactions.counters.trimmed += total
        return total
