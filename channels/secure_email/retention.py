"""Removes mails for good that were deleted ``secure_email.keep_deleted_days`` ago, and objects that belong to no attachment."""

from __future__ import annotations

from typing import Final

import structlog

from channels.secure_email import store
from channels.secure_email.counters import Counters
from channels.secure_email.settings import SecureEmailSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.objects.claim import StoreClaim
from hub.objects.folder import ObjectFolder
from hub.objects.removal import all_removed
from hub.storage.transactions import Transactions

EVERY_S: Final = 3600.0

MAX_AT_ONCE: Final = 20
"""Mails that one transaction removes at most, with their attachments. Other transactions run between two of them."""

_ASKED_AT_ONCE: Final = 500
"""Ids of objects that one query asks for."""

_DAY_MS: Final = 86_400_000

_log = structlog.get_logger(__name__)


class MailRetention(RetentionJob):
    """Removes old mails once an hour, for the first time at the start, and from the second time on objects of no attachment."""

    def __init__(
        self, transactions: Transactions, folder: ObjectFolder, clock: Clock, settings: SecureEmailSettings, counters: Counters
    ) -> None:
        super().__init__("secure_email.retention", period_s=EVERY_S, failed="secure_mails_not_trimmed")
        self._transactions = transactions
        self._folder = folder
        self._claim = StoreClaim(folder.store, transactions)
        self._clock = clock
        self._settings = settings
        self._counters = counters

    async def round(self, number: int) -> None:
        """Remove old mails, and objects that belong to nothing."""
        await self.trim()
        if number or await self._claim.held_before():
            await self.sweep()

    async def trim(self) -> int:
        """Remove old mails now. Returns how many were removed.

        Raises:
            StorageError: the database cannot be written.
            StoreUnavailableError: the store does not work; what is left, the next sweep removes.
        """
        before_ms = self._clock.wall_ms() - self._settings.keep_deleted_days * _DAY_MS
        total = 0
        while True:
            removed, objects = await self._transactions.write(lambda tx: store.trim(tx, before_ms, MAX_AT_ONCE))
            await self._remove(objects)
            if not removed:
                break
            total += removed
            self._counters.trimmed += removed
        return total

    async def sweep(self) -> int:
        """Remove objects of attachments that no row has: of mails that were not taken, of removed tenants, of purged mails while the store
        did not answer. Returns how many were removed.

        Raises:
            StorageError: the database cannot be read.
            StoreUnavailableError: the store does not work.
        """
        if not await self._claim.holds():
            return 0
        total = 0
        async for keys in self._folder.old(self._clock):
            found = self._folder.ids_of(keys)
            for at in range(0, len(found), _ASKED_AT_ONCE):
                batch = found[at : at + _ASKED_AT_ONCE]
                known = await self._transactions.read(lambda tx, batch=batch: store.known(tx, batch))  # type: ignore[misc]
                gone = sorted(set(batch) - known)
                if await self._remove(gone):
                    total += len(gone)
        if total:
            _log.info("objects_without_attachments_removed", objects=total)
        return total

    async def _remove(self, objects: list[str]) -> bool:
        gone = await all_removed(self._folder.remove(objects), [self._folder.store])
        self._counters.removals_failed += not gone
        return gone
