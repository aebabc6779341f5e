"""Deletes old messages, receipts and media, and those of removed channels, in batches: other transactions run between two of them."""

from __future__ import annotations

from typing import Final

import structlog

from channels.messaging import store_channels, store_media, store_messages
from channels.messaging.counters import Counters
from channels.messaging.media_store import MediaStore
from channels.messaging.settings import MessagingSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.objects.claim import StoreClaim
from hub.objects.removal import all_removed
from hub.storage.transactions import Transaction, Transactions

RECEIPTS_MS: Final = 24 * 3_600_000
"""Milliseconds that a receipt waits for a message of its id."""

_DAY_MS: Final = 86_400_000

_log = structlog.get_logger(__name__)


class MessagingRetention(RetentionJob):
    """Deletes what is old, and now and then objects that belong to nothing."""

    def __init__(
        self,
        transactions: Transactions,
        objects: MediaStore,
        settings: MessagingSettings,
        clock: Clock,
        counters: Counters,
        *,
        period_s: float = 60.0,
        batch_size: int = 500,
    ) -> None:
        """There is a round every ``period_s`` seconds. One transaction deletes at most ``batch_size`` rows of a table."""
        super().__init__("messaging.retention", period_s=period_s, failed="messaging_not_trimmed")
        self._transactions = transactions
        self._objects = objects
        self._claims = [StoreClaim(store, transactions) for store in objects.stores]
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._batch_size = batch_size

    async def round(self, number: int) -> None:
        """Delete what is old; every :data:`hub.objects.claim.SWEEP_EVERY` rounds also the objects without a row."""
        await self.trim()
        if all([await each.sweep_is_due(number) for each in self._claims]):
            await self.sweep()

    async def trim(self) -> int:
        """Delete what is old, and what belonged to a removed channel. Returns how many rows were deleted.

        Raises:
            StorageError: the database cannot be written.
            StoreUnavailableError: the store does not work.
        """
        total = 0
        now_ms = self._clock.wall_ms()
        messages_before_ms = now_ms - round(self._settings.keep_messages_days * _DAY_MS)
        batch = self._batch_size
        media_before_ms = now_ms - round(self._settings.keep_media_days * _DAY_MS)

        def old(tx: Transaction) -> tuple[int, list[str]]:
            rows = store_messages.trim(tx, before_ms=messages_before_ms, receipts_before_ms=now_ms - RECEIPTS_MS, limit=batch)
            return rows, store_media.trim(tx, media_before_ms, batch)

        def of_removed_channel(tx: Transaction) -> tuple[int, list[str]]:
            channel = store_channels.removed(tx)
            if channel is None:
                return 0, []
            rows, media = store_messages.trim_channel(tx, channel, batch), store_media.trim_channel(tx, channel, batch)
            if not rows and not media:
                store_channels.forget(tx, channel)
                rows = 1
            return rows, media

        for delete in (old, of_removed_channel):
            while True:
                rows, media = await self._transactions.write(delete)
                await self._remove(media)
                if not rows and not media:
                    break
                total += rows + len(media)
        self._counters.trimmed += total
        return total

    async def sweep(self) -> int:
        """Remove objects without a row: those of unfinished uploads, and of removed tenants. Returns how many were removed.

        Raises:
            StorageError: the database cannot be read.
            StoreUnavailableError: the store does not work.
        """
        if not all([await each.holds() for each in self._claims]):
            return 0
        total = 0
        async for found in self._objects.orphans(self._clock):
            for at in range(0, len(found), self._batch_size):
                batch = found[at : at + self._batch_size]
                known = await self._transactions.read(lambda tx, batch=batch: store_media.known(tx, batch))  # type: ignore[misc]
                gone = set(batch) - known
                if await self._remove(sorted(gone)):
                    total += len(gone)
        if total:
            _log.info("media_without_messages_removed", objects=total)
        return total

    async def _remove(self, media: list[str]) -> bool:
        gone = await all_removed(self._objects.remove(media), self._objects.stores)
        self._counters.removals_failed += not gone
        return gone
