"""Decides files that wait for a scanner that is not set any more, ends uploads that nobody completed, forgets old files and tokens, and
removes objects that belong to no file, in batches: other transactions run between two of them.
"""

from __future__ import annotations

from typing import Final

import structlog

from channels.files import idempotency, store_retention
from channels.files.changes import FileChanges
from channels.files.counters import Counters
from channels.files.models import GRACE_MS, INCOMING, PREFIX
from channels.files.service_files import FileService
from channels.files.settings import FilesSettings
from channels.files.state_machine import Action
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.objects.claim import StoreClaim
from hub.objects.removal import all_removed
from hub.objects.store import ObjectStore
from hub.storage.transactions import Transaction, Transactions

ORPHAN_MS: Final = 3_600_000
"""Milliseconds after which an object without a file is removed: its upload was not finished."""

_DAY_MS: Final = 86_400_000
_PAGE: Final = 1000

_log = structlog.get_logger(__name__)


class FilesRetention(RetentionJob):
    """Ends and removes what is old, and now and then objects that belong to nothing."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        store: ObjectStore,
        changes: FileChanges,
        settings: FilesSettings,
        clock: Clock,
        steady: Clock,
        counters: Counters,
        files: FileService,
        period_s: float = 60.0,
        batch_size: int = 500,
    ) -> None:
        """``steady`` tells what is old. There is a round every ``period_s`` seconds. One transaction changes at most ``batch_size``
        rows.
        """
        super().__init__("files.retention", period_s=period_s, failed="files_not_trimmed")
        self._transactions = transactions
        self._store = store
        self._claim = StoreClaim(store, transactions)
        self._changes = changes
        self._settings = settings
        self._clock = clock
        self._steady = steady
        self._counters = counters
        self._files = files
        self._batch_size = batch_size

    async def round(self, number: int) -> None:
        """End and remove what is old; in rounds in which a sweep is due also the objects without a file."""
        await self._files.decide_unscanned()
        await self.trim()
        if await self._claim.sweep_is_due(number):
            await self.sweep()

    async def trim(self) -> int:
        """End uploads that were not completed in time; forget files whose time is over, and old tokens. Returns how many rows changed.

        Raises:
            StorageError: the database cannot be written.
            ObjectStoreError: the store does not work; what is left, the next sweep removes.
        """
        total = 0
        now_ms = self._steady.wall_ms()
        batch, settings = self._batch_size, self._settings
        before_ms, refused_before_ms = (now_ms - round(days * _DAY_MS) for days in (settings.keep_days, settings.keep_refused_days))
        while ended := await self._transactions.write(lambda tx: self._end(tx, now_ms)):
            await self._remove([key for key in ended if key])
            total += len(ended)
        while old := await self._transactions.write(lambda tx: store_retention.trim(tx, before_ms, refused_before_ms, batch)):
            await self._remove([key for key in old if key])
            self._counters.trimmed += len(old)
            total += len(old)
        while old := await self._transactions.write(lambda tx: store_retention.trim_refused(tx, settings.tenant_refused, batch)):
            self._counters.trimmed += len(old)
            total += len(old)
        while tokens := await self._transactions.write(lambda tx: idempotency.trim(tx, now_ms, batch)):
            total += tokens
        return total

    def _end(self, tx: Transaction, now_ms: int) -> list[str]:
        """End uploads. Returns their keys; empty for those whose bytes never came."""
        late = store_retention.lock_late(tx, now_ms - GRACE_MS, self._batch_size)
        for file in late:
            self._changes.move(tx, file, Action.FAIL, self._clock.wall_ms(), reason="the upload was not completed in time")
        return [file.key or "" for file in late]

    async def sweep(self) -> int:
        """Remove objects without a file: those of unfinished uploads and of removed tenants, and those that a store could not remove in
        time. Returns how many were removed.

        Raises:
            StorageError: the database cannot be read.
            ObjectStoreError: the store does not work.
        """
        if not await self._claim.holds():
            return 0
        total = await self._sweep(PREFIX, store_retention.known_keys) + await self._sweep(INCOMING, store_retention.awaited_keys)
        if total:
            _log.info("objects_without_files_removed", objects=total)
        return total

    async def _sweep(self, prefix: str, known: store_retention.KnownKeys) -> int:
        total = 0
        after = ""
        before_ms = self._steady.wall_ms() - ORPHAN_MS
        while page := await self._store.objects(prefix, after, _PAGE):
            after = page[-1].key
            old = [each.key for each in page if each.modified_ms < before_ms]
            for at in range(0, len(old), self._batch_size):
                batch = old[at : at + self._batch_size]
                gone = set(batch) - await self._transactions.read(lambda tx, batch=batch: known(tx, batch))  # type: ignore[misc]
                if await self._remove(sorted(gone)):
                    total += len(gone)
        self._counters.swept += total
        return total

    async def _remove(self, keys: list[str]) -> bool:
        """Remove objects. Returns whether all of them are gone.

        Raises:
            ObjectStoreError: the store does not work at all.
        """
        gone = await all_removed(self._store.delete(keys), [self._store])
        self._counters.removals_failed += not gone
        return gone
