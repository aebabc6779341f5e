"""Deletes files for their age, objects to which no key leads, and keys whose objects are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from channels.media_storage import store
from channels.media_storage.folders import EXPORTS, IMPORTS, TOPS
from channels.media_storage.models import Kept
from channels.media_storage.service import PREFIX, MediaService, object_key
from channels.media_storage.settings import MediaStorageSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.objects.claim import StoreClaim
from hub.objects.store import ObjectInfo, ObjectNotFoundError, ObjectStore, ObjectStoreError
from hub.storage.transactions import Transaction, Transactions

ORPHAN_S: Final = 3_600
"""Seconds after which an object without a key is removed, and a key without an object: no upload is on its way for so long."""

MAX_AT_ONCE: Final = 200
"""Files that one transaction deletes at most. Other transactions run between two of them."""

PAGE: Final = 1_000
"""Objects, or files, that the sweep looks at in one step."""

_WITNESSES: Final = 20
"""Files of each top folder, of which at least one must be in the store before the sweep trusts it."""

_MAX_TENANTS: Final = 100_000
_DAY_MS: Final = 86_400_000
_ARRIVALS_MS: Final = 7 * _DAY_MS
"""For so long it is remembered what was taken in from the folder of native uploads, which is emptied at once."""

_log = structlog.get_logger(__name__)


class MediaRetention(RetentionJob):
    """A round of deletes once a minute, a sweep of the objects once an hour."""

    def __init__(
        self,
        media: MediaService,
        transactions: Transactions,
        objects: ObjectStore,
        settings: MediaStorageSettings,
        clock: Clock,
        *,
        longest_upload_s: float = 0,
        page: int = PAGE,
    ) -> None:
        """``longest_upload_s``: how long an upload may last. ``page``: see :data:`PAGE`."""
        super().__init__("media_storage.retention", period_s=60.0, first_after_s=10.0, failed="media_not_trimmed")
        self._media = media
        self._transactions = transactions
        self._objects = objects
        self._claim = StoreClaim(objects, transactions)
        self._settings = settings
        self._clock = clock
        self._used_links_s = max(ORPHAN_S, longest_upload_s)
        self._page = page

    async def round(self, number: int) -> None:
        """Delete what is old; every :data:`hub.objects.claim.SWEEP_EVERY` rounds also what belongs to nothing."""
        await self.trim()
        try:
            if await self._claim.sweep_is_due(number):
                await self.sweep()
        except ObjectStoreError as error:
            _log.warning("media_not_swept", error=str(error))  # the next sweep tries again

    async def trim(self) -> int:
        """Delete files for their age now. Returns how many were deleted.

        Raises:
            StorageError: the database cannot be written.
        """
        total = 0
        now_ms = self._clock.wall_ms()
        for top, days in ((IMPORTS, self._settings.keep_imports_days), (EXPORTS, self._settings.keep_exports_days)):
            before_ms = now_ms - round(days * _DAY_MS)
            while expired := await self._transactions.write(lambda tx, top=top, before_ms=before_ms: _expire(tx, top, before_ms)):  # type: ignore[misc]
                for tenant in {tenant for tenant, _ in expired}:
                    await self._media.drop(tenant, [each for of, each in expired if of == tenant])
                total += len(expired)
        await self._transactions.write(lambda tx: store.forget_arrivals(tx, now_ms - _ARRIVALS_MS))
        # an upload may end after its link has: until then another one by the same link must find it
        ended_ms = now_ms - round(self._used_links_s * 1000)
        while await self._transactions.write(lambda tx: store.forget_links(tx, ended_ms, MAX_AT_ONCE)):
            pass
        self._media.counters.expired += total
        return total

    async def sweep(self) -> int:
        """Remove objects to which no key leads, and keys whose objects are gone. Returns how many of both were removed.

        Raises:
            StorageError: the database cannot be used.
            ObjectStoreError: the store does not answer.
        """
        if not await self._claim.holds():
            return 0
        before_ms = self._clock.wall_ms() - ORPHAN_S * 1000
        if not await self._is_our_store(before_ms):
            _log.error("media_store_is_another", expected="the store whose files the database knows", setting="objects.url")
            return 0
        named = {each.removeprefix(PREFIX).rstrip("/") for each in await self._objects.folders(PREFIX, _MAX_TENANTS)}
        total = 0
        for tenant in sorted(named.union(await self._transactions.read(store.tenants))):
            total += await self._sweep(tenant, before_ms)
        if total:
            _log.info("media_of_no_file_removed", objects=total)
        return total

    async def _is_our_store(self, before_ms: int) -> bool:
        """Whether the store has any of the newest files: a folder that is not mounted would have every key removed."""
        witnesses = await self._transactions.read(
            lambda tx: [each for top in TOPS for each in store.newest(tx, top, before_ms, _WITNESSES)]
        )
        unreadable: ObjectStoreError | None = None
        for tenant, identifier in witnesses:
            try:
                await self._objects.head(object_key(tenant, identifier))
            except ObjectNotFoundError:
                continue
            except ObjectStoreError as error:
                unreadable = error  # this one perhaps alone
                continue
            return True
        if unreadable is not None:
            raise unreadable
        return not witnesses

    async def _sweep(self, tenant: str, before_ms: int) -> int:
        total = 0
        seen, after = "", ""
        while True:
            found = await self._objects.objects(f"{PREFIX}{tenant}/", after, self._page)
            there = {each.key.rpartition("/")[2]: each for each in found}
            last = max(there) if len(found) >= self._page else None
            known, lost = await self._compare(tenant, seen, last, there)
            orphans = [each for each, info in there.items() if each not in known and info.modified_ms < before_ms]
            for at in range(0, len(orphans), MAX_AT_ONCE):
                await self._media.drop(tenant, orphans[at : at + MAX_AT_ONCE])
            self._media.counters.orphans += len(orphans)
            total += len(orphans) + await self._lose(tenant, [each for each in lost if each.modified_ms < before_ms])
            if last is None:
                return total
            seen, after = last, found[-1].key

    async def _compare(self, tenant: str, seen: str, last: str | None, there: dict[str, ObjectInfo]) -> tuple[set[str], list[Kept]]:
        """Which of the objects ``there`` belong to a file, and the files between ``seen`` and ``last`` that have none of them."""
        known: set[str] = set()
        lost: list[Kept] = []
        at = seen
        while True:
            rows = await self._transactions.read(lambda tx, at=at: store.objects_between(tx, tenant, at, last, self._page))  # type: ignore[misc]
            known |= {each.object for each in rows if each.object in there}
            lost += [each for each in rows if each.object not in there]
            if len(rows) < self._page:
                return known, lost
            at = rows[-1].object

    async def _lose(self, tenant: str, lost: Sequence[Kept]) -> int:
        total = 0
        for each in lost:
            if await self._transactions.write(lambda tx, each=each: store.lose(tx, tenant, each.path, each.object)):  # type: ignore[misc]
                _log.error("media_object_lost", tenant=tenant, object=each.object)
                total += 1
        self._media.counters.lost += total
        return total


def _expire(transaction: Transaction, top: str, before_ms: int) -> list[tuple[str, str]]:
    """Delete a batch of old files. Returns tenant and object of each."""
    expired: list[tuple[str, str]] = []
    # in one order of tenants, so that two nodes that do this at once do not wait for one another
    for tenant, path in sorted(store.old(transaction, top, before_ms, MAX_AT_ONCE)):
        removed = store.remove(transaction, tenant, path)
        if removed is not None:
            expired.append((tenant, removed.object))
    return expired
