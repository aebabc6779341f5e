"""The bytes of media, in the hub's object store or, where that is not set, in the folder of media."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

from hub.core.ports import Clock
from hub.objects.folder import ObjectFolder
from hub.objects.store import ObjectNotFoundError, ObjectStore

PREFIX: Final = "messaging/"
"""The folder of media in a store that other families use, too."""

_UNFINISHED: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f-]{36}\.part")
"""The keys of unfinished files in version 0.1.0, whose folder of media was messaging's alone."""


class MediaStore:
    """Media by id."""

    __slots__ = ("_earlier", "_folder")

    def __init__(self, store: ObjectStore, prefix: str = "", earlier: ObjectStore | None = None) -> None:
        """``prefix`` is the folder of the media in ``store``. ``earlier`` holds media from before the hub had this store: they are read and
        removed there.
        """
        self._folder = ObjectFolder(store, prefix)
        self._earlier = None if earlier is None else ObjectFolder(earlier)

    @property
    def stores(self) -> list[ObjectStore]:
        """The stores in which media lie."""
        return [each.store for each in (self._folder, self._earlier) if each is not None]

    async def write(self, identifier: str, content: bytes) -> None:
        """See :meth:`hub.objects.folder.ObjectFolder.write`."""
        await self._folder.write(identifier, content)

    async def open(self, identifier: str) -> AsyncIterator[bytes]:
        """See :meth:`hub.objects.folder.ObjectFolder.open`."""
        try:
            return await self._folder.open(identifier)
        except ObjectNotFoundError:
            if self._earlier is None:
                raise
        return await self._earlier.open(identifier)

    async def remove(self, identifiers: Sequence[str]) -> None:
        """See :meth:`hub.objects.folder.ObjectFolder.remove`."""
        await self._folder.remove(identifiers)
        if self._earlier is not None:
            await self._earlier.remove(identifiers)

    async def orphans(self, clock: Clock) -> AsyncIterator[list[str]]:
        """Yield the ids of media that are older than :data:`hub.objects.folder.ORPHAN_S`, in batches: each must have a row in the database.
        What is left of unfinished uploads of version 0.1.0 is removed.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        for folder in (self._folder, self._earlier):
            if folder is None:
                continue
            async for keys in folder.old(clock):
                await folder.remove_keys([key for key in keys if _UNFINISHED.fullmatch(key)])
                if found := folder.ids_of(keys):
                    yield found
