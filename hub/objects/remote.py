"""Objects in a store of a cloud, or in memory: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage, by obstore."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from hub.core.ports import Clock
from hub.objects import sigv4
from hub.objects.hashing import Hashed, SourceError
from hub.objects.spool import Spool
from hub.objects.store import (
    CHECK_KEY,
    PIECE_BYTES,
    Failed,
    InvalidKeyError,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    Span,
    Stored,
    StoreLink,
    StoreUnavailableError,
    check_folder,
    check_key,
)

PART_BYTES: Final = 5 * 1024 * 1024
"""Bytes of a part of a large upload: the fewest that S3 takes. Smaller objects are sent in one piece."""

_ENCRYPTION: Final = "x-amz-server-side-encryption"

_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
_NO_OBJECT: Final = ("NoSuchKey", "BlobNotFound")
"""The codes of S3 and of Azure for a key that does not exist. With the same status, 404, they answer where there is no bucket."""

if TYPE_CHECKING:
    from obstore import GetOptions

Backend = S3Store | GCSStore | AzureStore | MemoryStore


class S3Links:
    """Makes links to the objects of one bucket, which bind all that the request must have (docs/protocol/files.md#links)."""

    __slots__ = ("_base_url", "_clock", "_credentials", "_kms_key_id", "_region")

    def __init__(self, base_url: str, credentials: sigv4.Credentials, region: str, clock: Clock, kms_key_id: str | None = None) -> None:
        """``base_url`` is that of the bucket, with the folder of the store's objects, without a slash at its end. ``kms_key_id``: the key
        with which the bucket has objects encrypted.
        """
        self._kms_key_id = kms_key_id
        self._base_url = base_url
        self._credentials = credentials
        self._region = region
        self._clock = clock

    def put(self, key: str, size: int, content_type: str, lasts_s: int) -> StoreLink:
        """A link for one upload."""
        headers = {"Content-Length": str(size), "Content-Type": content_type}
        return StoreLink(self._sign("PUT", key, "", headers, lasts_s), tuple(headers.items()))

    def upload(self, key: str, lasts_s: int) -> StoreLink:
        """A link for uploads of any size and type. Where the bucket has a key, the request must name it in two headers; the link says
        which key in its query.
        """
        headers = {} if self._kms_key_id is None else {_ENCRYPTION: "aws:kms", f"{_ENCRYPTION}-aws-kms-key-id": self._kms_key_id}
        query = "" if self._kms_key_id is None else f"?kms-key={quote(self._kms_key_id, safe='')}"
        return StoreLink(self._sign("PUT", key, query, headers, lasts_s), tuple(headers.items()))

    def get(self, key: str, disposition: str, content_type: str, lasts_s: int) -> StoreLink:
        """A link for downloads. An object has the type with which somebody uploaded it: the answer has another one."""
        query = f"?response-content-disposition={quote(disposition, safe='')}&response-content-type={quote(content_type, safe='')}"
        return StoreLink(self._sign("GET", key, query, {}, lasts_s))

    def _sign(self, method: str, key: str, query: str, headers: dict[str, str], lasts_s: int) -> str:
        url = f"{self._base_url}/{quote(key, safe='/~')}{query}"
        return sigv4.presign(method, url, headers, lasts_s, self._credentials, self._region, self._clock.wall_ms() / 1000)


class RemoteStore:
    """A store that obstore reaches. Requests that fail on the way, or because the store is busy, are repeated for a time."""

    __slots__ = ("_backend", "_links", "_spool")

    def __init__(self, backend: Backend, spool: Spool, links: S3Links | None = None) -> None:
        """``spool`` has what clients upload until it is whole. ``links`` makes links to the store itself; None: the hub makes its own."""
        self._backend = backend
        self._spool = spool
        self._links = links

    async def put(self, key: str, pieces: AsyncIterator[bytes], size: int, *, create_only: bool = False, tenant: str = "") -> Stored:
        """See :meth:`hub.objects.store.ObjectStore.put`. With ``create_only`` the object is in memory as a whole while it is sent."""
        check_key(key)
        through = Hashed(size)
        try:
            async with self._spool.whole(pieces, size, through, tenant) as content:
                await self._put(key, content, size, create_only)
        except SourceError as error:
            raise error.error from None
        return through.finish()

    async def _put(self, key: str, content: bytes | BinaryIO, size: int, create_only: bool) -> None:
        try:
            async with self._asked(key, conditional=create_only):
                if create_only or size <= PART_BYTES:
                    # one request: S3 can refuse a key that is taken in no other way
                    await obstore.put_async(self._backend, key, content, mode="create" if create_only else "overwrite", use_multipart=False)
                else:
                    await obstore.put_async(self._backend, key, content, chunk_size=PART_BYTES, max_concurrency=1)
        except ObjectNotFoundError as error:  # what is missing is where the object would be
            raise StoreUnavailableError("the object store has no such bucket or container", "NoSuchBucket") from error

    async def get(self, key: str, span: Span | None = None) -> AsyncIterator[bytes]:
        """See :meth:`hub.objects.store.ObjectStore.get`."""
        check_key(key)
        if span is not None and span.start >= span.end:
            await self.head(key)
            return _nothing()
        options: GetOptions = {} if span is None else {"range": (span.start, span.end)}
        async with self._asked(key):
            try:
                opened = await obstore.get_async(self._backend, key, options=options)
            except (exceptions.GenericError, OSError):
                # a store refuses a range that begins behind the end; nearly always there is one request, not two
                if span is None or (await self.head(key)).size > span.start:
                    raise
                return _nothing()
        return self._pieces(opened, key)

    async def _pieces(self, opened: Any, key: str) -> AsyncIterator[bytes]:
        """The bytes of an answer. A client may take them more slowly than a request to the store may last: then the rest is asked for
        again, as long as the object is still the same one.
        """
        at, end = opened.range
        etag = opened.meta["e_tag"]
        while True:
            began = at
            try:
                async with self._asked(key):
                    async for chunk in opened.stream(min_chunk_size=PIECE_BYTES):
                        whole = memoryview(chunk)
                        for start in range(0, len(whole), PIECE_BYTES):
                            piece = bytes(whole[start : start + PIECE_BYTES])
                            at += len(piece)
                            yield piece
                return
            except StoreUnavailableError:
                if at == began or at >= end or etag is None:
                    raise
            try:
                async with self._asked(key, conditional=True):
                    opened = await obstore.get_async(self._backend, key, options={"range": (at, end), "if_match": etag})
            except (ObjectExistsError, ObjectNotFoundError) as error:
                raise StoreUnavailableError(
                    f"the object {key!r} was replaced or deleted while it was read", "PreconditionFailed"
                ) from error

    async def open_file(self, key: str) -> BinaryIO | None:
        """See :meth:`hub.objects.store.ObjectStore.open_file`: it has none."""
        check_key(key)
        return None

    async def head(self, key: str) -> ObjectInfo:
        """See :meth:`hub.objects.store.ObjectStore.head`."""
        check_key(key)
        async with self._asked(key):
            found = await obstore.head_async(self._backend, key)
        return ObjectInfo(key, found["size"], _ms(found["last_modified"]), found["e_tag"] or "")

    async def delete(self, keys: Sequence[str]) -> None:
        """See :meth:`hub.objects.store.ObjectStore.delete`."""
        failed = Failed()
        for key in map(check_key, keys):
            with failed.passing_over(), suppress(ObjectNotFoundError):
                async with self._asked(key):
                    await obstore.delete_async(self._backend, key)
        failed.check()

    async def objects(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[ObjectInfo]:
        """See :meth:`hub.objects.store.ObjectStore.objects`."""
        folder = check_folder(prefix)
        found: list[ObjectInfo] = []
        async with self._asked(prefix, listing=True):
            stream = obstore.list(self._backend, folder or None, offset=after or None, chunk_size=min(limit, 1000))
            async for batch in stream:
                found += [ObjectInfo(each["path"], each["size"], _ms(each["last_modified"])) for each in batch]
                if len(found) >= limit:
                    break
        return sorted(found[:limit], key=lambda each: each.key.encode())

    async def folders(self, prefix: str, limit: int = 1000) -> Sequence[str]:
        """See :meth:`hub.objects.store.ObjectStore.folders`."""
        folder = check_folder(prefix)
        async with self._asked(prefix, listing=True):
            found = await obstore.list_with_delimiter_async(self._backend, folder or None)
        return [f"{each}/" for each in sorted(found["common_prefixes"], key=str.encode)][:limit]

    async def copy(self, source: str, target: str) -> None:
        """See :meth:`hub.objects.store.ObjectStore.copy`."""
        check_key(source)
        check_key(target)
        async with self._asked(source):
            await obstore.copy_async(self._backend, source, target)

    def sign_put(self, key: str, size: int, content_type: str, lasts_s: int) -> StoreLink | None:
        """See :meth:`hub.objects.store.ObjectStore.sign_put`."""
        return None if self._links is None else self._links.put(check_key(key), size, content_type, lasts_s)

    def sign_get(self, key: str, disposition: str, content_type: str, lasts_s: int) -> StoreLink | None:
        """See :meth:`hub.objects.store.ObjectStore.sign_get`."""
        return None if self._links is None else self._links.get(check_key(key), disposition, content_type, lasts_s)

    def sign_upload(self, key: str, lasts_s: int) -> StoreLink | None:
        """See :meth:`hub.objects.store.ObjectStore.sign_upload`."""
        return None if self._links is None else self._links.upload(check_key(key), lasts_s)

    async def check(self) -> str | None:
        """See :meth:`hub.objects.store.ObjectStore.check`."""
        content = b"written by the check of /readyz"
        try:
            await self.put(CHECK_KEY, _whole(content), len(content))
            found = b"".join([piece async for piece in await self.get(CHECK_KEY)])
        except (StoreUnavailableError, ObjectNotFoundError) as error:
            return str(error)
        if found != content:
            return f"{CHECK_KEY}: expected the {len(content)} bytes that were written, got {len(found)} others"
        return await self._spool.trouble()

    async def close(self) -> None:
        """See :meth:`hub.objects.store.ObjectStore.close`: obstore holds nothing that has to be released."""

    @asynccontextmanager
    async def _asked(self, key: str, *, listing: bool = False, conditional: bool = False) -> AsyncIterator[None]:
        """Turn the errors of obstore into those of a store. What does not exist of a listing is the bucket; a conflict with another object
        is one only of a request that is ``conditional``, else two requests at once have disturbed each other.
        """
        try:
            yield
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            code = _code(error)
            if listing or (code and code not in _NO_OBJECT):
                told = code or "NoSuchBucket"
                raise StoreUnavailableError(
                    f"the object store does not find the bucket, the upload or the access key: {told}", told
                ) from error
            if not code:
                # the answer does not say what is missing, the object or the whole bucket; in the latter nothing can be listed
                await self.objects("", limit=1)
            raise ObjectNotFoundError(f"there is no object {key!r}") from None
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            if not conditional:
                code = _code(error) or "Conflict"
                raise StoreUnavailableError(f"the object store was asked for two things at once ({code}): {_short(error)}", code) from error
            raise ObjectExistsError(f"there is an object {key!r} already") from None
        except exceptions.InvalidPathError:
            raise InvalidKeyError(f"key: the store does not take {key[:100]!r}") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            code = _code(error) or "AccessDenied"
            raise StoreUnavailableError(f"the object store does not let the hub in ({code}): {_short(error)}", code) from error
        except (exceptions.BaseError, OSError) as error:
            code = _code(error)
            told = f" ({code})" if code else ""
            raise StoreUnavailableError(f"the object store does not answer as expected{told}: {_short(error)}", code) from error


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


def _code(error: BaseException) -> str:
    """The store's own word for an error; empty where its answer has none."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _short(error: BaseException) -> str:
    """The first line of an error of obstore, whose others have the whole request."""
    return str(error).partition("\n")[0][:200]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
