"""The interface of object stores: where the bytes of files lie. What the hub knows of a file beside its bytes is in the database.

One suite of tests holds for every backend (``tests/hub/objects/test_store.py``).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, Protocol

PIECE_BYTES: Final = 256 * 1024
"""Bytes of a piece that :meth:`ObjectStore.get` yields, at most. Each takes a change of thread; a download has up to two in memory."""

MAX_KEY_BYTES: Final = 1024
"""UTF-8 bytes of a key: the bound that S3 has."""

MAX_SEGMENT_BYTES: Final = 255
"""UTF-8 bytes between two slashes of a key: the bound that file systems have."""

CHECK_KEY: Final = ".hub-check"
"""The object that the check of a cloud's store writes and reads."""

CHECKED_BYTES: Final = 64 * 1024
"""Bytes that the check of a folder writes: a name alone may fit where no byte does."""

MOST_FAILED: Final = 10
"""Objects of a batch that fail, each perhaps after ``objects.retry_s``, before the others are left alone."""

_NOT_IN_KEYS: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff\\\\]")


class ObjectStoreError(Exception):
    """A store refused something, or does not answer. The text says which, and why."""


class InvalidKeyError(ObjectStoreError):
    """A key is none that every backend takes, or it names a folder that holds others."""


class ObjectNotFoundError(ObjectStoreError):
    """There is no object of this key."""


class ObjectExistsError(ObjectStoreError):
    """There is an object of this key already, and the caller wanted to make a new one."""


class WrongSizeError(ObjectStoreError):
    """More or fewer bytes came than were declared; nothing is left of them."""


class StoreUnavailableError(ObjectStoreError):
    """The store does not answer, has no room, or does not let the hub in. ``code`` is the store's own word for it, where it has one."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Failed:
    """What could not be done with the objects of a batch."""

    __slots__ = ("_count", "_first")

    def __init__(self) -> None:
        self._count = 0
        self._first: ObjectStoreError | None = None

    @contextmanager
    def passing_over(self) -> Iterator[None]:
        """Note an error of the block, after which the next object has its turn.

        Raises:
            ObjectStoreError: it is the :data:`MOST_FAILED`-th one: the store is at fault rather than an object.
        """
        try:
            yield
        except ObjectStoreError as error:
            self._count += 1
            if self._first is None:
                self._first = error
            if self._count >= MOST_FAILED:
                self.check()

    def check(self) -> None:
        """Raise what became of the first one that failed, if there is one."""
        if self._first is not None:
            raise self._first


class Span(NamedTuple):
    """A part of an object: the bytes from ``start`` up to, but without, ``end``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object."""

    key: str
    size: int
    """Bytes."""
    modified_ms: int
    """When it was written, in milliseconds since 1970 UTC; many stores know the second alone."""
    etag: str = ""
    """What a store of a cloud tells versions apart by; listings may write it in another way. Empty: it has none."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was learnt of an object while it was written."""

    size: int
    """Bytes."""
    md5: str
    """In hexadecimal digits: the ETag of downloads, as S3 has it for objects that came in one request."""
    sha256: str
    """In hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class StoreLink:
    """A link to the store itself, and the headers that a request by it must have."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


class ObjectStore(Protocol):
    """A store of objects. Every call may raise :class:`StoreUnavailableError`; those with a key, :class:`InvalidKeyError`."""

    async def put(self, key: str, pieces: AsyncIterator[bytes], size: int, *, create_only: bool = False, tenant: str = "") -> Stored:
        """Write an object. When this returns, all of it is durable under its key. When it raises, nothing of it is there; only where the
        caller was cancelled at the very end may the whole object be.

        Args:
            key: its key.
            pieces: the bytes, in pieces of any size.
            size: how many bytes they are together.
            create_only: whether to refuse a key that is taken. Otherwise the object takes the place of the old one, at once.
            tenant: whose it is, where one tenant is not to keep others waiting; empty: nobody's.

        Raises:
            WrongSizeError: more or fewer bytes came.
            ObjectExistsError: the key is taken, with ``create_only``.
        """
        ...

    async def get(self, key: str, span: Span | None = None) -> AsyncIterator[bytes]:
        """Open an object; the bytes of it, or of a part of it, come in pieces of at most :data:`PIECE_BYTES`. Close the iterator early
        with ``aclose``.

        Raises:
            ObjectNotFoundError: there is none.
        """
        ...

    async def open_file(self, key: str) -> BinaryIO | None:
        """An object as a file that is open for reading; the caller closes it. None: the store has no files of this machine, and
        :meth:`get` gives the bytes.

        Raises:
            ObjectNotFoundError: there is none; where the store has files.
        """
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Size and time of an object.

        Raises:
            ObjectNotFoundError: there is none.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. One that is missing is no error; one that cannot be deleted keeps those behind it only where there are many such.

        Raises:
            ObjectStoreError: what became of the first that could not be deleted.
        """
        ...

    async def objects(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[ObjectInfo]:
        """The objects below a folder and its folders, sorted by the UTF-8 bytes of their keys. Whoever asks for page after page may miss
        objects that came after the first one.

        Args:
            prefix: the folder, with a slash at its end; empty: all objects.
            after: the key after which to begin.
            limit: how many at most.
        """
        ...

    async def folders(self, prefix: str, limit: int = 1000) -> Sequence[str]:
        """The folders directly in a folder that have objects below them, sorted; each with the whole path and a slash at its end."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store. One that is at the target is replaced.

        Raises:
            ObjectNotFoundError: there is none at the source.
        """
        ...

    def sign_put(self, key: str, size: int, content_type: str, lasts_s: int) -> StoreLink | None:
        """A link by which somebody may upload exactly ``size`` bytes of one type to the store itself; None: it has no such links, and the
        hub makes its own.
        """
        ...

    def sign_get(self, key: str, disposition: str, content_type: str, lasts_s: int) -> StoreLink | None:
        """A link by which somebody may download an object from the store itself; None: it has no such links. The answer has
        ``disposition`` as ``Content-Disposition`` and ``content_type`` as ``Content-Type``, whatever the object was uploaded with.
        """
        ...

    def sign_upload(self, key: str, lasts_s: int) -> StoreLink | None:
        """As :meth:`sign_put`, for a file of any size and type. Until the link ends, each upload takes the place of the one before."""
        ...

    async def check(self) -> str | None:
        """What is wrong with the store, in words for an operator; None: it can be written and read."""
        ...

    async def close(self) -> None:
        """Release what the store holds."""
        ...


def check_key(key: str) -> str:
    """Check that every backend takes a key, and return it.

    Raises:
        InvalidKeyError: it is none: segments between slashes of 1 to 255 bytes, none of them ``.`` or ``..``, without control characters
            and backslashes, at most 1,024 bytes in all.
    """
    segments = key.split("/")
    if (
        _NOT_IN_KEYS.search(key)
        or len(key.encode()) > MAX_KEY_BYTES
        or any(each in ("", ".", "..") or len(each.encode()) > MAX_SEGMENT_BYTES for each in segments)
    ):
        expected = f"segments of 1-{MAX_SEGMENT_BYTES} bytes with slashes between, none of them . or .., at most {MAX_KEY_BYTES} bytes"
        raise InvalidKeyError(f"key: expected {expected}, got {key[:100]!r}")
    return key


def check_folder(prefix: str) -> str:
    """Check the prefix of a listing, and return it without the slash at its end.

    Raises:
        InvalidKeyError: it is neither empty nor a folder with a slash at its end.
    """
    if not prefix:
        return ""
    if not prefix.endswith("/"):
        raise InvalidKeyError(f"prefix: expected a folder with a slash at its end, got {prefix[:100]!r}")
    return check_key(prefix[:-1])
