"""Deletes what is old, and what belonged to removed channels, in pieces, so that other transactions run between two."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

import structlog

from channels.messaging import store_channels, store_media, store_messages
from channels.messaging.counters import Counters
from channels.messaging.media_files import MediaFolder
from channels.messaging.settings import MessagingSettings
from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0

SWEEP_EVERY: Final = 60
"""Rounds of trimming to one look at every file: as long as a file must be there to be an orphan."""

PIECE: Final = 500
"""Rows that one transaction deletes of a table at most."""

RECEIPTS_MS: Final = 24 * 3_600_000
"""How long a receipt waits for a message of its id."""

_DAY_MS: Final = 86_400_000


class RetentionJob:
    """A service."""

    __slots__ = ("_clock", "_counters", "_folder", "_settings", "_task", "_transactions")

    def __init__(
        self, transactions: Transactions, folder: MediaFolder, settings: MessagingSettings, clock: Clock, counters: Counters
    ) -> None:
        self._transactions = transactions
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._task = BackgroundTask("messaging.retention")

    async def start(self) -> None:
        """Begin to delete, and to look for files without a row."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop; calling it twice does no harm."""
        await self._task.stop()

    async def _run(self) -> None:
        for turn in itertools.count():
            try:
                await self.trim()
                if turn % SWEEP_EVERY == 0:
                    await self.sweep()
            except (StorageError, OSError):
                _log.exception("messaging_not_trimmed")
            await asyncio.sleep(EVERY_S)

    async def trim(self) -> int:
        """Delete what is old or belonged to a removed channel. Returns how many rows were deleted.

        Raises:
            StorageError: the database cannot be written.
            OSError: a file could not be removed.
        """
        total = 0
        now_ms = self._clock.wall_ms()
        messages_before_ms = now_ms - round(self._settings.keep_messages_days * _DAY_MS)
        media_before_ms = now_ms - round(self._settings.keep_media_days * _DAY_MS)

        def old(tx: Transaction) -> tuple[int, list[str]]:
            rows = store_messages.trim(tx, before_ms=messages_before_ms, receipts_before_ms=now_ms - RECEIPTS_MS, limit=PIECE)
            return rows, store_media.trim(tx, media_before_ms, PIECE)

        def gone(tx: Transaction) -> tuple[int, list[str]]:
            channel = store_channels.removed(tx)
            if channel is None:
                return 0, []
            rows, media = store_messages.trim_channel(tx, channel, PIECE), store_media.trim_channel(tx, channel, PIECE)
            if not rows and not media:
                store_channels.forget(tx, channel)
                rows = 1
            return rows, media

        for piece in (old, gone):
            while True:
                rows, media = await self._transactions.write(piece)
                for identifier in media:
                    await asyncio.to_thread(self._folder.remove, identifier)
                if not rows and not media:
                    break
                total += rows + len(media)
        self._counters.trimmed += total
        return total

    async def sweep(self) -> int:
        """Remove files without a row: of uploads that were not finished, of tenants that were removed. Returns how
        many were removed.

        Raises:
            StorageError: the database cannot be read.
            OSError: a file could not be removed.
        """
        total = 0
        folders = self._folder.orphans()
        while (found := await asyncio.to_thread(next, folders, None)) is not None:
            for at in range(0, len(found), PIECE):
                piece = found[at : at + PIECE]
                known = await self._transactions.read(lambda tx, piece=piece: store_media.known(tx, piece))  # type: ignore[misc]
                for identifier in set(piece) - known:
                    await asyncio.to_thread(self._folder.remove, identifier)
                    total += 1
        return total
