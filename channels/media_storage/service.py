"""The folders of tenants: listings, links, deletes, and what the hub exports. A change of files is one transaction."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby, islice
from typing import Final

import structlog

from channels.media_storage import store
from channels.media_storage.counters import Counters
from channels.media_storage.errors import UnknownKeyError
from channels.media_storage.folders import EXPORTS, FOLDERS
from channels.media_storage.keys import Incoming, check_file, check_upload, folder_of, is_folder, name_of, to_incoming, to_link_id
from channels.media_storage.models import CONTENT_TYPE, Linked, Listed, Listing, MediaObject
from channels.media_storage.settings import MediaStorageSettings
from hub.core.field_error import FieldError
from hub.core.ports import Clock
from hub.http.file_names import disposition
from hub.objects.links import Disposition, FileLink, FileLinks, Purpose
from hub.objects.store import ObjectStore, ObjectStoreError, Stored
from hub.objects.transfer import NoRoomError
from hub.storage.transactions import Transaction, Transactions

PREFIX: Final = "media/"
"""Below it lie the objects of this family, each tenant's in a folder of its own."""

MAX_COUNTED: Final = 10_000
"""Files that are counted for the total of a listing, at most (docs/protocol/media-storage.md#pages)."""

MAX_COUNTED_FOLDERS: Final = 1_000

_log = structlog.get_logger(__name__)


class Kind(StrEnum):
    """What is listed."""

    FILE = "file"
    """All files below a folder and its folders."""
    DIRECTORY = "directory"
    """A folder and all folders below it."""
    BOTH = "file:directory"
    """What is directly in a folder."""


def object_key(tenant: str, identifier: str) -> str:
    """The key in the store of an object's bytes."""
    return f"{PREFIX}{tenant}/{identifier[:2]}/{identifier}"


class MediaService:
    """The folders of all tenants."""

    __slots__ = ("_clock", "_links", "_objects", "_settings", "_transactions", "counters")

    def __init__(
        self,
        transactions: Transactions,
        objects: ObjectStore,
        links: FileLinks,
        settings: MediaStorageSettings,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._transactions = transactions
        self._objects = objects
        self._links = links
        self._settings = settings
        self._clock = clock
        self.counters = counters

    # -- listings ----------------------------------------------------------------------------------------------------

    async def listing(
        self,
        tenant: str,
        key: str,
        kind: Kind,
        *,
        version: int,
        start: str,
        limit: int,
        counted: bool,
        render: Callable[[Listing], bytes],
    ) -> bytes:
        """A page of a listing, as ``render`` has it, which runs in the thread that reads: a page may have a thousand lines.

        Args:
            tenant: whose.
            key: of a folder; that of a file gives this file alone.
            kind: what is listed.
            version: of the API: folders of later versions are not shown while they are empty.
            start: the key at which the page starts; empty: at the beginning.
            limit: lines of a page, at most.
            counted: whether the total is wanted.
            render: makes the answer.

        Raises:
            UnknownKeyError: there is no such file or folder.
            FieldError: the folders of a file were asked for.
            StorageError: the database cannot be read.
        """

        def read(transaction: Transaction) -> bytes:
            if not is_folder(key):
                return render(_single(transaction, tenant, key, kind))
            folder = key if key.endswith("/") else f"{key}/"
            return render(_page(transaction, tenant, folder, kind, version, start, limit, counted=counted))

        answer = await self._transactions.read(read)
        self.counters.listed += 1
        return answer

    # -- links -------------------------------------------------------------------------------------------------------

    async def upload_link(self, tenant: str, key: str, base_url: str) -> Linked:
        """A link by which a file can be uploaded, in place of one that is there, and one to the store itself where it has such links.

        Raises:
            FieldError: files of this key cannot be uploaded.
            UnknownKeyError: there is no such tenant any more.
            StorageError: the database cannot be read.
        """
        check_upload(key)
        found, born_ms = await self._transactions.read(lambda tx: (store.find(tx, tenant, key), store.born_ms(tx, tenant)))
        if born_ms is None:
            raise UnknownKeyError(key)
        link = self._link(tenant, key, born_ms, None)
        url = self._links.make(base_url, link)
        incoming = to_incoming(Incoming(tenant, key, link.expires_ms, born_ms))
        native = None if incoming is None else self._objects.sign_upload(incoming, self._settings.link_s)
        self.counters.links += 1
        return Linked(key, True, found, url, url if native is None else native.url)

    async def download_link(self, tenant: str, key: str, base_url: str) -> Linked:
        """A link by which a file can be downloaded, and one to the store itself where it has such links.

        Raises:
            FieldError: it is no key of a file.
            UnknownKeyError: there is no such file.
            StorageError: the database cannot be read.
        """
        check_file(key)
        found, born_ms = await self._transactions.read(lambda tx: (store.find(tx, tenant, key), store.born_ms(tx, tenant)))
        if found is None or born_ms is None:
            raise UnknownKeyError(key)
        url = self._links.make(base_url, self._link(tenant, key, born_ms, Disposition.ATTACHMENT))
        place, shown = object_key(tenant, found.object), disposition(name_of(key))
        native = self._objects.sign_get(place, shown, CONTENT_TYPE, self._settings.link_s)
        self.counters.links += 1
        return Linked(key, False, found, url, url if native is None else native.url)

    def _link(self, tenant: str, key: str, born_ms: int, how: Disposition | None) -> FileLink:
        expires_ms = self._clock.wall_ms() + self._settings.link_s * 1000
        return FileLink(tenant, to_link_id(key, born_ms), Purpose.MEDIA_STORAGE, expires_ms, disposition=how)

    # -- changes -----------------------------------------------------------------------------------------------------

    async def delete(self, tenant: str, key: str) -> None:
        """Delete a file. Links to it answer 404 from then on.

        Raises:
            FieldError: it is no key of a file.
            UnknownKeyError: there is no such file.
            StorageError: the database cannot be written.
        """
        check_file(key)
        found = await self._transactions.write(lambda tx: store.remove(tx, tenant, key))
        if found is None:
            raise UnknownKeyError(key)
        self.counters.deleted += 1
        await self.drop(tenant, [found.object])

    async def write(self, tenant: str, key: str, pieces: AsyncIterator[bytes], size: int) -> Stored:
        """Write a file below ``exports/``, in place of one of its key. See :class:`hub.objects.exports.ExportFolder`."""
        if not check_file(key).startswith(f"{EXPORTS}/"):
            raise FieldError.of_value("key", f"a key below {EXPORTS}/", key)
        made = str(uuid.uuid4())
        stored = await self._objects.put(object_key(tenant, made), pieces, size, tenant=tenant)

        def keep(transaction: Transaction) -> MediaObject | None:
            return self.keep(transaction, tenant, key, made, stored)

        try:
            before = await self._transactions.write(keep)
        except (NoRoomError, UnknownKeyError):
            await self.drop(tenant, [made])
            raise
        # after a StorageError nobody knows whether the row is there, if the connection broke while committing: the sweep finds out
        if before is not None:
            await self.drop(tenant, [before.object])
        self.counters.exported += 1
        return stored

    def keep(self, transaction: Transaction, tenant: str, key: str, identifier: str, stored: Stored) -> MediaObject | None:
        """Have a key lead to an object whose bytes are in the store. Returns the file that had the key before; its object is the caller's
        to delete.

        Raises:
            NoRoomError: the tenant's quota does not allow it.
            UnknownKeyError: there is no such tenant any more.
        """
        used = store.lock(transaction, tenant)
        if used is None:
            raise UnknownKeyError(key)
        before = store.find(transaction, tenant, key)
        made = MediaObject(key, identifier, stored.size, stored.md5, stored.sha256, self._clock.wall_ms())
        freed = 0 if before is None else before.size
        self.check_room(used.files + (before is None), used.bytes + stored.size - freed, used.links)
        store.put(transaction, tenant, folder_of(key), made, before)
        return before

    def now_ms(self) -> int:
        """The time of day, in ms since 1970 UTC."""
        return self._clock.wall_ms()

    def check_room(self, files: int, size: int, links: int) -> None:
        """Check that a tenant may have ``files`` files of ``size`` bytes together, and ``links`` links that were used and have not ended.

        Raises:
            NoRoomError: it may not.
        """
        settings = self._settings
        quotas = (
            ("max_tenant_files", settings.max_tenant_files, files),
            ("max_tenant_bytes", settings.max_tenant_bytes, size),
            ("max_used_links", settings.max_used_links, links),
        )
        for name, most, got in quotas:
            if got > most:
                self.counters.refused_full += 1
                raise NoRoomError(f"media_storage.{name}: expected at most {most}, got {got}: delete files, or ask for a higher quota")

    async def drop(self, tenant: str, identifiers: Sequence[str]) -> None:
        """Delete objects to which no key leads any more. What the store does not delete now, the sweep does later."""
        try:
            await self._objects.delete([object_key(tenant, each) for each in identifiers])
        except ObjectStoreError as error:
            self.counters.removals_failed += 1
            _log.warning("media_objects_left", objects=len(identifiers), error=str(error))


def _single(transaction: Transaction, tenant: str, key: str, kind: Kind) -> Listing:
    if kind is Kind.DIRECTORY:
        raise FieldError.of_value("key", "the key of a folder, with a slash at its end", key)
    found = store.find(transaction, tenant, key)
    if found is None:
        raise UnknownKeyError(key)
    return Listing(folder_of(key), [Listed(found.path, found.size, found.modified_ms)], None, 1)


def _page(
    transaction: Transaction, tenant: str, folder: str, kind: Kind, version: int, start: str, limit: int, *, counted: bool
) -> Listing:
    known = [f"{each.path}/" for each in FOLDERS.values() if each.since <= version and f"{each.path}/".startswith(folder)]
    if not known and not store.files_below(transaction, tenant, folder, "", 1).lines:
        raise UnknownKeyError(folder)
    if kind is Kind.FILE:
        page = store.files_below(transaction, tenant, folder, start, limit)
        total = store.count_below(transaction, tenant, folder, MAX_COUNTED) if counted else None
        return Listing(folder, page.lines, page.follows, total)
    find = _folders_below if kind is Kind.DIRECTORY else _folders_in
    folders = [Listed(each) for each in find(transaction, tenant, folder, known, start, limit + 1)]
    files = store.files_in(transaction, tenant, folder, start, limit + 1) if kind is Kind.BOTH else []
    lines = sorted((*folders, *files), key=lambda line: line.path.encode())
    follows = lines[limit].path if len(lines) > limit else None
    total = _total(transaction, tenant, folder, kind, known) if counted else None
    return Listing(folder, lines[:limit], follows, total)


def _total(transaction: Transaction, tenant: str, folder: str, kind: Kind, known: list[str]) -> int | None:
    """How many lines all pages have together; None: too many to count."""
    find = _folders_below if kind is Kind.DIRECTORY else _folders_in
    folders = len(find(transaction, tenant, folder, known, "", MAX_COUNTED_FOLDERS + 1))
    files = store.count_in(transaction, tenant, folder, MAX_COUNTED) if kind is Kind.BOTH else 0
    return None if files is None or folders > MAX_COUNTED_FOLDERS or files + folders > MAX_COUNTED else files + folders


def _folders_below(transaction: Transaction, tenant: str, folder: str, known: list[str], start: str, limit: int) -> list[str]:
    """A folder and those below it, from one on; ``known`` are those that are there in any case. No more are looked at than are returned: a
    key may have hundreds of folders.
    """
    with_files = _with_those_above(folder, store.folders_below(transaction, tenant, folder, start, limit))
    found = heapq.merge(sorted({folder, *known}, key=str.encode), with_files, key=str.encode)
    first = start.encode()
    return list(islice((path for path, _ in groupby(found) if path.encode() >= first), limit))


def _with_those_above(folder: str, paths: list[str]) -> Iterator[str]:
    """The folders of ``paths``, which are sorted, and those between each of them and ``folder``, in which there may be no file. They come
    sorted: each stands before all that begin with it.
    """
    inner = folder
    for path in paths:
        while not path.startswith(inner):
            inner = folder_of(inner[:-1])
        while inner != path:
            inner = path[: path.index("/", len(inner)) + 1]
            yield inner


def _folders_in(transaction: Transaction, tenant: str, folder: str, known: list[str], start: str, limit: int) -> list[str]:
    """The folders directly in a folder, from one on."""
    near = {each for each in known if each != folder and "/" not in each[len(folder) : -1] and each.encode() >= start.encode()}
    return sorted(near.union(store.folders_in(transaction, tenant, folder, start, limit)), key=str.encode)[:limit]
