"""Hashes and counts the bytes of an object while they come, off the event loop where they are many."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO, Final

from hub.objects.store import Stored, WrongSizeError
from hub.objects.threads import in_hashing_thread

GATHERED_BYTES: Final = 128 * 1024
"""Pieces are put together up to this size before a thread takes them: each change of the thread costs about 50 us. One upload has about six
times as much in memory, with what the server and the connection hold.
"""

GATHERED_PIECES: Final = 256
"""Pieces are put together up to this number, however small they are: an object of Python needs more room than a few bytes."""


class SourceError(Exception):
    """The source of an object failed with ``error``, which is no fault of the store, whatever its type."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Hashed:
    """Counts and hashes what passes through."""

    __slots__ = ("_md5", "_sha256", "_wanted", "size")

    def __init__(self, wanted: int) -> None:
        """``wanted`` is the declared size in bytes."""
        self._wanted = wanted
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.size = 0
        """Bytes so far."""

    def check(self, size: int) -> None:
        """Check that ``size`` bytes more may come.

        Raises:
            WrongSizeError: they are too many.
        """
        if self.size + size > self._wanted:
            raise WrongSizeError(f"size: expected {self._wanted} bytes, got more")

    def feed(self, pieces: Sequence[bytes]) -> None:
        """Count and hash pieces; for 128 KiB this takes about 0.4 ms, in which other threads run."""
        for piece in pieces:
            self.size += len(piece)
            self._md5.update(piece)
            self._sha256.update(piece)

    def finish(self) -> Stored:
        """What is known of the whole object.

        Raises:
            WrongSizeError: fewer bytes came than declared.
        """
        if self.size != self._wanted:
            raise WrongSizeError(f"size: expected {self._wanted} bytes, got {self.size}")
        return Stored(self.size, self._md5.hexdigest(), self._sha256.hexdigest())


def append(file: BinaryIO, pieces: list[bytes], through: Hashed) -> None:
    """Count, hash and write pieces, in the thread that calls it. The caller's list is emptied: what is written is needed no more, while
    the next pieces come, too.

    Raises:
        OSError: the file cannot be written.
    """
    through.feed(pieces)
    file.writelines(pieces)
    pieces.clear()


async def gathered(pieces: AsyncIterator[bytes], through: Hashed) -> AsyncIterator[list[bytes]]:
    """The same pieces in lists of about :data:`GATHERED_BYTES`, or of :data:`GATHERED_PIECES`. Nobody copies them: a list belongs to the
    caller, and is not kept here.

    Raises:
        SourceError: ``pieces`` raised something.
        WrongSizeError: more bytes came than declared.
    """
    waiting: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            del piece
            if size >= GATHERED_BYTES or len(waiting) >= GATHERED_PIECES:
                through.check(size)
                size = 0
                yield _handed_over(waiting)
    except WrongSizeError:
        raise
    except Exception as error:
        raise SourceError(error) from error
    if size:
        through.check(size)
        yield waiting


def _handed_over(waiting: list[bytes]) -> list[bytes]:
    handed = waiting.copy()
    waiting.clear()
    return handed


async def hashed(pieces: AsyncIterator[bytes], through: Hashed) -> AsyncIterator[bytes]:
    """The same bytes, counted and hashed on their way.

    Raises:
        WrongSizeError: more or fewer bytes came than declared; the last pieces are held back until that is known.
    """
    held: list[bytes] = []
    async for batch in gathered(pieces, through):
        for piece in held:
            yield piece
        await in_hashing_thread(through.feed, batch)
        held = batch
    through.finish()
    for piece in held:
        yield piece
