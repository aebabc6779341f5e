"""Deletes old messages, receipts and media, and those of removed channels, in batches: other transactions run between two of them."""

from __future__ import annotations

import asyncio
from typing import Final

from channels.messaging import store_channels, store_media, store_messages
from channels.messaging.counters import Counters
from channels.messaging.media_files import MediaFolder
from channels.messaging.settings import MessagingSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.storage.transactions import Transaction, Transactions

SWEEP_EVERY: Final = 60
"""Rounds of trimming to one sweep of the files. With a round a minute that is an hour, as long as a file must exist to be an orphan."""

RECEIPTS_MS: Final = 24 * 3_600_000
"""Milliseconds that a receipt waits for a message of its id."""

_DAY_MS: Final = 86_400_000


class MessagingRetention(RetentionJob):
    """Deletes what is old, and now and then files that belong to nothing."""

    def __init__(
        self,
        transactions: Transactions,
        folder: MediaFolder,
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
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._batch_size = batch_size

    async def round(self, number: int) -> None:
        """Delete what is old; every :data:`SWEEP_EVERY` rounds also the files without a row."""
        await self.trim()
        if number % SWEEP_EVERY == 0:
            await self.sweep()

    async def trim(self) -> int:
        """Delete what is old, and what belonged to a removed channel. Returns how many rows were deleted.

        Raises:
            StorageError: the database cannot be written.
            OSError: a file could not be removed.
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
                for identifier in media:
                    await asyncio.to_thread(self._folder.remove, identifier)
                if not rows and not media:
                    break
                total += rows + len(media)
        self._counters.trimmed += total
        return total

    async def sweep(self) -> int:
        """Remove files without a row: those of unfinished uploads, and of removed tenants. Returns how many were removed.

        Raises:
            StorageError: the database cannot be read.
            OSError: a file could not be removed.
        """
        total = 0
        folders = self._folder.orphans()
        while (found := await asyncio.to_thread(next, folders, None)) is not None:
            for at in range(0, len(found), self._batch_size):
                batch = found[at : at + self._batch_size]
                known = await self._transactions.read(lambda tx, batch=batch: store_media.known(tx, batch))  # type: ignore[misc]
                for identifier in set(batch) - known:
                    await asyncio.to_thread(self._folder.remove, identifier)
                    total += 1
        return total
