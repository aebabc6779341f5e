"""Keeps uploads to a cloud's store on this machine until they are whole: however slowly their clients send, and however many do, each has
little in memory, and the store is asked for seconds only.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from hub.objects.hashing import Hashed, append, gathered, hashed
from hub.objects.sends import Sends
from hub.objects.store import CHECKED_BYTES, StoreUnavailableError
from hub.objects.threads import in_hashing_thread, in_thread
from hub.storage.private_folder import make_private

MEMORY_BYTES: Final = 256 * 1024
"""Bytes of an upload up to which it stays in memory, as much as pieces of a larger one take."""


class Spool:
    """Unfinished uploads, in files without a name: they are gone with the process that has them open."""

    __slots__ = ("_folder", "_sends")

    def __init__(self, folder: Path, sends: Sends) -> None:
        """``folder`` is made when it is needed. ``sends`` has the places of uploads that are passed on to the store; others wait."""
        self._folder = folder
        self._sends = sends

    @asynccontextmanager
    async def whole(self, pieces: AsyncIterator[bytes], size: int, through: Hashed, tenant: str) -> AsyncIterator[bytes | BinaryIO]:
        """All of an upload of a tenant, counted and hashed: the bytes, or a file that is at its beginning. The block passes it on.

        Raises:
            SourceError: ``pieces`` raised something.
            WrongSizeError: more or fewer bytes came than declared.
            StoreUnavailableError: the folder has no room, or cannot be used.
        """
        if size <= MEMORY_BYTES:
            yield b"".join([piece async for piece in hashed(pieces, through)])
            return
        file = await self._filled(pieces, through)
        try:
            async with self._sends.turn(tenant):
                yield file
        finally:
            file.close()

    async def trouble(self) -> str | None:
        """What keeps the folder from taking uploads; None: nothing."""

        def attempt() -> str | None:
            try:
                with self._open() as file:
                    file.write(b"\0" * CHECKED_BYTES)
            except OSError as error:
                return f"{self._folder}: {error}"
            return None

        return await in_thread(attempt)

    async def _filled(self, pieces: AsyncIterator[bytes], through: Hashed) -> BinaryIO:
        file: BinaryIO | None = None
        try:
            file = await in_thread(self._open)
            async for batch in gathered(pieces, through):
                await in_hashing_thread(append, file, batch, through)
            through.finish()
            await in_thread(file.seek, 0)
        except OSError as error:
            _close(file)
            raise StoreUnavailableError(f"the folder of uploads: {error.strerror or error}") from error
        except BaseException:
            _close(file)
            raise
        return file

    def _open(self) -> BinaryIO:
        make_private(self._folder)
        return cast("BinaryIO", tempfile.TemporaryFile(dir=self._folder))


def _close(file: BinaryIO | None) -> None:
    """Close a file that is not needed. That may try once more to write what is left in its buffer, to a disk that is full."""
    if file is not None:
        with suppress(OSError):
            file.close()
