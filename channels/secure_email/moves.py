"""Moves attachments that an earlier version kept in the database into the object store, a slice at a time, while the hub runs.

An attachment is copied, the copy is read again and compared, and then one transaction lets the row name the object and drops its bytes. So
whenever the hub is killed there is one copy that the row leads to; a copy that no row knows is removed by the sweep
(:class:`channels.secure_email.retention.MailRetention`). Two hubs may move the same attachment: the row takes one object, the other one
is removed.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from channels.secure_email import store
from channels.secure_email.counters import Counters
from channels.secure_email.models import Unmoved
from hub.background import RetentionJob
from hub.objects.folder import ObjectFolder, new_id
from hub.objects.store import StoreUnavailableError
from hub.storage.transactions import Transactions

EVERY_S: Final = 60.0
"""Seconds between two rounds. After the first nothing is left to move, unless the store or the database failed."""

SLICE: Final = 50
"""Attachments that are looked up at once; one of them is in memory at a time."""

PAUSE_S: Final = 0.05
"""Seconds between two attachments: those who send and read mails come first."""

_log = structlog.get_logger(__name__)


class AttachmentMoves(RetentionJob):
    """Moves what is in the database, and begins again where it stopped."""

    def __init__(self, transactions: Transactions, folder: ObjectFolder, counters: Counters, *, pause_s: float = PAUSE_S) -> None:
        super().__init__("secure_email.moves", period_s=EVERY_S, failed="attachments_not_moved")
        self._transactions = transactions
        self._folder = folder
        self._counters = counters
        self._pause_s = pause_s

    async def trim(self) -> int:
        """Move all attachments that are in the database. Returns how many were moved.

        Raises:
            StorageError: the database cannot be read or written.
            StoreUnavailableError: the store does not take an attachment, or gives other bytes back.
        """
        total = 0
        last = Unmoved(0, 0)
        while found := await self._transactions.read(lambda tx, last=last: store.unmoved(tx, last, SLICE)):  # type: ignore[misc]
            for last in found:
                total += await self._move(last)
                await asyncio.sleep(self._pause_s)
        if total:
            _log.info("attachments_moved", attachments=total)
        return total

    async def _move(self, attachment: Unmoved) -> bool:
        content = await self._transactions.read(lambda tx: store.content(tx, attachment))
        if content is None:
            return False
        identifier = new_id()
        written = await self._folder.write(identifier, content)
        if await self._folder.measure(identifier, written.size) != written:
            await self._folder.remove([identifier])
            raise StoreUnavailableError("the object store gave other bytes back than it was given", "BadDigest")
        moved = await self._transactions.write(lambda tx: store.moved(tx, attachment, identifier))
        if moved:
            self._counters.moved_attachments += 1
        else:
            await self._folder.remove([identifier])
        return moved
