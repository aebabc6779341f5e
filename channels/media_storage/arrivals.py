"""Takes in what was uploaded to the store itself, by native links, of which nobody tells the hub."""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

import structlog

from channels.media_storage.keys import INCOMING, Incoming, check_upload, of_incoming
from channels.media_storage.link_owner import MediaLinkOwner
from channels.media_storage.service import MediaService, object_key
from channels.media_storage.settings import MediaStorageSettings
from hub.background import BackgroundTask
from hub.core.field_error import FieldError
from hub.objects.hashing import Hashed
from hub.objects.store import ObjectInfo, ObjectNotFoundError, ObjectStore, ObjectStoreError
from hub.objects.transfer import NoRoomError
from hub.storage.transactions import StorageError

_PAGE: Final = 100
_NAMESPACE: Final = uuid.UUID("7b1c1f0e-2f6b-5a3f-9c0d-0f6f0d6f1c11")
"""Of the ids that follow from what arrived: whoever takes it in, after whatever crash, gives it the same one."""

_log = structlog.get_logger(__name__)


class Arrivals:
    """Looks into the folder of native uploads, every few seconds.

    What has arrived is copied to a key of its own, so that the link, which still lives, cannot change it; the copy is hashed, and listed
    with its event in one transaction. Then what arrived is removed. After a crash in between, ``media_arrivals`` says that it was taken.
    """

    def __init__(self, media: MediaService, owner: MediaLinkOwner, objects: ObjectStore, settings: MediaStorageSettings) -> None:
        self._media = media
        self._owner = owner
        self._objects = objects
        self._settings = settings
        self._task = BackgroundTask("media_storage.arrivals")

    async def start(self) -> None:
        """Begin to look, if the store has native links at all."""
        if self._objects.sign_upload(f"{INCOMING}x", 1) is not None:
            self._task.start(self._run())

    async def stop(self) -> None:
        """Stop."""
        await self._task.stop()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except (ObjectStoreError, StorageError) as error:
                _log.warning("media_arrivals_not_seen", error=str(error))  # they stay where they are
            await asyncio.sleep(self._settings.arrivals_s)

    async def look(self) -> int:
        """Take in what has arrived. Returns how many files.

        Raises:
            ObjectStoreError: the store does not answer.
            StorageError: the database cannot be written.
        """
        taken = 0
        after = ""
        while found := await self._objects.objects(INCOMING, after, _PAGE):
            for each in found:
                taken += await self._try(each)
            after = found[-1].key
        return taken

    async def _try(self, info: ObjectInfo) -> bool:
        """Take in one file. One that the store does not give keeps no other one.

        Raises:
            ObjectStoreError: the store does not work.
        """
        try:
            return await self._take(info)
        except ObjectStoreError as error:
            if await self._objects.check() is not None:
                raise
            self._media.counters.failed_arrivals += 1
            named = of_incoming(info.key)
            _log.warning("media_arrival_not_readable", tenant=named[0] if named else "", code=getattr(error, "code", ""))
            return False

    async def _take(self, info: ObjectInfo) -> bool:
        named = of_incoming(info.key)
        try:
            info = await self._objects.head(info.key)  # with the tag of this version: several may come in one second
            kept = named is not None and await self._keep(info, named)
        except (FieldError, NoRoomError) as error:
            _log.warning("media_arrival_refused", tenant=named.tenant if named else "", error=str(error))
            self._media.counters.refused_arrivals += 1
            kept = False
        except ObjectNotFoundError:
            return False  # another node was faster
        if await self._is_same(info):  # else it was uploaded anew meanwhile: the next look takes that in
            await self._objects.delete([info.key])
        return kept

    async def _keep(self, info: ObjectInfo, incoming: Incoming) -> bool:
        check_upload(incoming.key)
        if info.size > self._settings.max_file_bytes:
            raise NoRoomError(f"media_storage.max_file_bytes: expected at most {self._settings.max_file_bytes}, got {info.size}")
        identifier = str(uuid.uuid5(_NAMESPACE, f"{info.key} {info.modified_ms} {info.size} {info.etag}"))
        target = object_key(incoming.tenant, identifier)
        if await self._owner.is_taken(identifier):
            return False
        await self._objects.copy(info.key, target)
        size = (await self._objects.head(target)).size
        through = Hashed(size)
        async for piece in await self._objects.get(target):
            through.check(len(piece))
            await asyncio.to_thread(through.feed, [piece])
        try:
            kept = await self._owner.take(incoming, identifier, through.finish())
        except NoRoomError:
            await self._media.drop(incoming.tenant, [identifier])
            raise
        self._media.counters.arrived += kept
        return kept

    async def _is_same(self, info: ObjectInfo) -> bool:
        try:
            return await self._objects.head(info.key) == info
        except ObjectNotFoundError:
            return False
