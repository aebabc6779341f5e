"""Deletes interactions that have been over for ``interactions.keep_days``."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from channels.interactions import store
from channels.interactions.service import InteractionService
from channels.interactions.settings import InteractionsSettings
from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.storage.transactions import StorageError, Transactions

_log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0

MAX_AT_ONCE: Final = 500
"""Interactions that one transaction deletes at most. Other transactions run between two of them."""

_DAY_MS: Final = 86_400_000


class RetentionJob:
    """A service that deletes old interactions once a minute."""

    __slots__ = ("_clock", "_interactions", "_settings", "_task", "_transactions")

    def __init__(self, interactions: InteractionService, transactions: Transactions, clock: Clock, settings: InteractionsSettings) -> None:
        self._interactions = interactions
        self._transactions = transactions
        self._clock = clock
        self._settings = settings
        self._task = BackgroundTask("interactions.retention")

    async def start(self) -> None:
        """Start; the first round is after a minute."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop; a second call does nothing."""
        await self._task.stop()

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

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.trim()
            except StorageError:
                _log.exception("interactions_not_trimmed")
