"""What links of the purpose ``x`` lead to: uploads into ``imports/``, downloads of any file."""

from __future__ import annotations

import uuid

from channels.media_storage import store
from channels.media_storage.errors import UnknownKeyError
from channels.media_storage.keys import Incoming, link_hash, name_of, of_link_id
from channels.media_storage.models import CONTENT_TYPE, UPLOADED, MediaObject
from channels.media_storage.serializers import event_body
from channels.media_storage.service import MediaService, object_key
from channels.media_storage.settings import MediaStorageSettings
from hub.objects.instances import instance_id
from hub.objects.links import FileLink, Purpose
from hub.objects.store import Stored
from hub.objects.transfer import Coming, Download, LinkUsedError, Outcome, Upload
from hub.outbox.models import ASKING_ENDPOINTS, Recorder
from hub.storage.transactions import Transaction, Transactions


class MediaLinkOwner:
    """The :class:`hub.objects.transfer.LinkOwner` of media storage."""

    __slots__ = ("_media", "_outbox", "_settings", "_transactions")

    purpose = Purpose.MEDIA_STORAGE

    def __init__(self, media: MediaService, transactions: Transactions, outbox: Recorder, settings: MediaStorageSettings) -> None:
        self._media = media
        self._transactions = transactions
        self._outbox = outbox
        self._settings = settings

    async def begin(self, link: FileLink, coming: Coming) -> Upload | None:
        """See :meth:`hub.objects.transfer.LinkOwner.begin`."""
        named = of_link_id(link.id)
        if named is None:
            return None
        key, born_ms = named

        def look(transaction: Transaction) -> Upload | None:
            if store.born_ms(transaction, link.tenant) != born_ms:
                return None
            made = object_key(link.tenant, str(uuid.uuid4()))
            found = store.find(transaction, link.tenant, key)
            before = _uploaded_by(transaction, link, found)
            if before is None:
                used = store.usage(transaction, link.tenant)
                freed = 0 if found is None else found.size
                files = used.files + coming.files - (found is not None)
                self._media.check_room(files, used.bytes + coming.bytes - freed, used.links + coming.files)
            return Upload(made, before, self._settings.max_file_bytes)

        return await self._transactions.read(look)

    async def finish(self, link: FileLink, upload: Upload, stored: Stored) -> Outcome:
        """See :meth:`hub.objects.transfer.LinkOwner.finish`. The file and its event are written in one transaction."""
        named = of_link_id(link.id)
        assert named is not None  # else it would not have begun
        key, born_ms = named
        identifier = upload.key.rpartition("/")[2]
        before: MediaObject | None = None

        def keep(transaction: Transaction) -> Outcome:
            nonlocal before
            before = None
            if store.lock(transaction, link.tenant) is None or store.born_ms(transaction, link.tenant) != born_ms:
                return Outcome.GONE
            first = _uploaded_by(transaction, link, store.find(transaction, link.tenant, key))
            if first is not None:
                return Outcome.SAME if first == stored else Outcome.OTHER
            before = self._record(transaction, link.tenant, key, identifier, stored)
            store.use(transaction, link.tenant, link_hash(link.id, link.expires_ms), identifier, link.expires_ms)
            return Outcome.KEPT

        try:
            outcome = await self._transactions.write(keep)
        except UnknownKeyError:
            return Outcome.GONE
        if outcome is Outcome.KEPT:
            self._media.counters.uploaded += 1
            if before is not None:
                await self._media.drop(link.tenant, [before.object])
        return outcome

    def _record(self, transaction: Transaction, tenant: str, key: str, identifier: str, stored: Stored) -> MediaObject | None:
        """Have a key lead to an object, and record the event. Returns the file that had the key before."""
        before = self._media.keep(transaction, tenant, key, identifier, stored)
        made = store.find(transaction, tenant, key)
        assert made is not None
        self._outbox.add(
            transaction,
            tenant=tenant,
            type=UPLOADED,
            key=f"media/{identifier}",
            body=event_body(instance_id(tenant), made),
            endpoint=ASKING_ENDPOINTS,
        )
        return before

    async def is_taken(self, identifier: str) -> bool:
        """Whether what arrived at the store was taken in under this id before."""
        return await self._transactions.read(lambda tx: store.has_arrived(tx, identifier))

    async def take(self, incoming: Incoming, identifier: str, stored: Stored) -> bool:
        """Take in what arrived at the store itself. Returns whether it is new; a tenant that is gone has nothing.

        Raises:
            NoRoomError: the tenant's quota does not allow it.
            StorageError: the database cannot be written.
        """
        before: MediaObject | None = None
        tenant = incoming.tenant

        def keep(transaction: Transaction) -> bool:
            nonlocal before
            before = None
            if store.lock(transaction, tenant) is None or store.born_ms(transaction, tenant) != incoming.born_ms:
                return False
            if not store.arrive(transaction, identifier, self._media.now_ms()):
                return False
            before = self._record(transaction, tenant, incoming.key, identifier, stored)
            return True

        kept = await self._transactions.write(keep)
        if kept:
            self._media.counters.uploaded += 1
            if before is not None:
                await self._media.drop(tenant, [before.object])
        return kept

    async def find(self, link: FileLink) -> Download | None:
        """See :meth:`hub.objects.transfer.LinkOwner.find`."""
        named = of_link_id(link.id)
        if named is None:
            return None
        key, made_ms = named
        found, born_ms = await self._transactions.read(lambda tx: (store.find(tx, link.tenant, key), store.born_ms(tx, link.tenant)))
        if found is None or born_ms != made_ms:
            return None
        return Download(object_key(link.tenant, found.object), found.size, found.md5, name_of(key), CONTENT_TYPE, found.modified_ms)


def _uploaded_by(transaction: Transaction, link: FileLink, found: MediaObject | None) -> Stored | None:
    """What was uploaded by a link before, if the file of its key, ``found``, is that still; None: the link was not used.

    Raises:
        LinkUsedError: what was uploaded by it is gone.
    """
    before = store.used_for(transaction, link.tenant, link_hash(link.id, link.expires_ms))
    if before is None:
        return None
    if found is None or found.object != before:
        raise LinkUsedError("what was uploaded by this link was replaced or deleted since, and each link is good for one upload")
    return Stored(found.size, found.md5, found.sha256)
