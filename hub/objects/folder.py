"""The objects of one family: below a folder of the store that is the family's own, each known by an id that its row in the database has."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Final

from hub.core.ports import Clock
from hub.objects.hashing import Hashed, SourceError, hashed
from hub.objects.store import ObjectStore, Stored, WrongSizeError

ORPHAN_S: Final = 3_600
"""Seconds after which an object without a row in the database is removed: what wrote it was not finished."""

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PAGE: Final = 1000


def new_id() -> str:
    """Generate the id of an object; it cannot be guessed."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None


class ObjectFolder:
    """Objects by id."""

    __slots__ = ("_prefix", "store")

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        """``prefix`` is the folder, with a slash at its end: no other family writes there. Empty: the store is this family's alone."""
        self.store = store
        """Where they lie."""
        self._prefix = prefix

    async def write(self, identifier: str, content: bytes) -> Stored:
        """Write an object. When this returns, all of it is durable; what is returned was learnt of ``content``.

        Raises:
            StoreUnavailableError: it could not be written; nothing is left of it.
        """
        return await self.store.put(self._key(identifier), _whole(content), len(content))

    async def open(self, identifier: str) -> AsyncIterator[bytes]:
        """The bytes of an object, in pieces.

        Raises:
            ObjectNotFoundError: there is none.
            StoreUnavailableError: the store does not answer.
        """
        return await self.store.get(self._key(identifier))

    async def read(self, identifier: str) -> bytes:
        """The bytes of an object, all at once.

        Raises:
            ObjectNotFoundError: there is none.
            StoreUnavailableError: the store does not answer.
        """
        return b"".join([piece async for piece in await self.open(identifier)])

    async def measure(self, identifier: str, size: int) -> Stored | None:
        """Read an object again, to compare what the store has with what :meth:`write` returned. None: it is not of ``size`` bytes.

        Raises:
            ObjectNotFoundError: there is none.
            StoreUnavailableError: the store does not answer.
        """
        through = Hashed(size)
        try:
            async for _ in hashed(await self.open(identifier), through):
                pass
        except SourceError as error:
            raise error.error from None
        except WrongSizeError:
            return None
        return through.finish()

    async def remove(self, identifiers: Sequence[str]) -> None:
        """Remove objects, as far as they exist.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        await self.store.delete([self._key(each) for each in identifiers])

    async def remove_keys(self, keys: Sequence[str]) -> None:
        """Remove objects that :meth:`old` has found, and that are none of this folder's by their keys.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        await self.store.delete(keys)

    async def old(self, clock: Clock) -> AsyncIterator[list[str]]:
        """Yield the keys of the folder's objects that are older than :data:`ORPHAN_S`, in batches.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        before_ms = clock.wall_ms() - ORPHAN_S * 1000
        after = ""
        while page := await self.store.objects(self._prefix, after, _PAGE):
            after = page[-1].key
            yield [each.key for each in page if each.modified_ms < before_ms]

    def ids_of(self, keys: Sequence[str]) -> list[str]:
        """The ids of objects by their keys. Whatever does not lie where this folder would put it is left out."""
        named = ((key, key.rpartition("/")[2]) for key in keys)
        return [name for key, name in named if is_id(name) and key == self._key(name)]

    def _key(self, identifier: str) -> str:
        if not is_id(identifier):  # it becomes part of a key
            raise ValueError(f"expected the id of an object, got {identifier!r}")
        return f"{self._prefix}{identifier[:2]}/{identifier}"


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
