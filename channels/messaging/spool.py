"""Keeps bodies of requests whose sender is not known yet in files. The signature covers the whole body, so it is hashed while it comes.

A body in a file takes no memory. The files of one channel, and those of all, have a budget. It counts by the names in the request,
whether the channel exists or not, so that a refusal does not show that.
"""

from __future__ import annotations

import asyncio
import hmac
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

from starlette.requests import ClientDisconnect, Request

from channels.messaging.counters import Counters
from hub.ops.body import RETRY_AFTER, hold, let_go, too_large
from hub.ops.envelope import ApiError

PIECE_BYTES: Final = 64 * 1024
"""Bytes of a body that are held in memory; the rest is in a file."""


class Spooled:
    """A whole body, in memory or in a file that has no name."""

    __slots__ = ("_file", "_last", "_request", "size")

    def __init__(self, request: Request, file: BinaryIO | None, last: bytes, size: int) -> None:
        self._request = request
        self._file = file
        self._last = last
        self.size = size

    async def hash(self, hashers: Sequence[hmac.HMAC]) -> None:
        """Feed all of it to ``hashers``."""
        if self._file is None and self.size * len(hashers) <= PIECE_BYTES:
            _feed(hashers, self._last)
        else:
            await asyncio.to_thread(self._hash, hashers)

    def _hash(self, hashers: Sequence[hmac.HMAC]) -> None:
        if self._file is not None:
            self._file.seek(0)
            while piece := self._file.read(PIECE_BYTES):
                _feed(hashers, piece)
        _feed(hashers, self._last)

    async def read(self) -> bytes:
        """Read the whole body into memory: for a sender who was identified.

        Raises:
            ApiError: 429 or 503, it does not fit there now (:meth:`hub.ops.body.BodyBudget.take`).
        """
        if self._file is None:
            return self._last
        hold(self._request, self.size - len(self._last))
        return await asyncio.to_thread(self._read, self._file)

    def _read(self, file: BinaryIO) -> bytes:
        file.seek(0)
        return file.read() + self._last


class Spool:
    """The files, and what they may take together. ``folder`` is where they lie: not in ``/tmp``, which may be memory."""

    __slots__ = ("_counters", "_folder", "_held", "_most", "_most_of_channel", "_of_channel")

    def __init__(self, folder: Path, *, most: int, most_of_channel: int, counters: Counters) -> None:
        self._folder = folder
        self._most = most
        self._most_of_channel = most_of_channel
        self._counters = counters
        self._held = 0
        self._of_channel: dict[tuple[str, str], int] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that have begun and whose requests are not answered yet."""
        return self._held

    @asynccontextmanager
    async def receive(self, request: Request, owner: tuple[str, str], limit: int, hashers: Sequence[hmac.HMAC]) -> AsyncIterator[Spooled]:
        """The body of ``request``, fed to ``hashers`` as it comes; ``owner`` names contact centre and channel.

        Raises:
            ApiError: 413, it is larger than ``limit`` bytes; 400, it ended before it was whole; 429 or 503 with ``Retry-After``: the
                bodies of this channel, or of all, take what they may.
            OSError: the file could not be written.
        """
        size = 0
        file: BinaryIO | None = None
        pieces: list[bytes] = []
        in_memory = 0
        try:
            async for piece in request.stream():
                if not piece:
                    continue
                size += len(piece)
                if size > limit:
                    size -= len(piece)
                    raise too_large(limit)
                try:
                    self._take(owner, len(piece))
                except ApiError:
                    size -= len(piece)
                    raise
                pieces.append(piece)
                in_memory += len(piece)
                if in_memory >= PIECE_BYTES:
                    joined = b"".join(pieces)
                    pieces = []
                    file = await asyncio.to_thread(self._write, file, joined, hashers)
                    let_go(request, in_memory)
                    in_memory = 0
            last = b"".join(pieces)
            _feed(hashers, last)
            yield Spooled(request, file, last, size)
        except ClientDisconnect:
            raise ApiError(400, "the body ended before it was whole") from None
        finally:
            self._give(owner, size)
            if file is not None:
                file.close()

    def _write(self, file: BinaryIO | None, piece: bytes, hashers: Sequence[hmac.HMAC]) -> BinaryIO:
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - its request closes it
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
        _feed(hashers, piece)
        return file

    def _take(self, owner: tuple[str, str], size: int) -> None:
        of_channel = self._of_channel.get(owner, 0) + size
        if of_channel > self._most_of_channel:
            self._counters.refused_spool += 1
            raise _over("the bodies of this channel's requests that are under way", self._most_of_channel, 429)
        if self._held + size > self._most:
            self._counters.refused_spool += 1
            raise _over("the bodies of all channels' requests that are under way", self._most, 503)
        self._of_channel[owner] = of_channel
        self._held += size

    def _give(self, owner: tuple[str, str], size: int) -> None:
        self._held -= size
        if size and (left := self._of_channel[owner] - size):
            self._of_channel[owner] = left
        elif size:
            del self._of_channel[owner]


def _feed(hashers: Sequence[hmac.HMAC], piece: bytes) -> None:
    for each in hashers:
        each.update(piece)


def _over(what: str, most: int, status: int) -> ApiError:
    expected = f"{what} within {most} bytes"
    detail = {"field": "body", "expected": expected, "got": "more"}
    return ApiError(status, f"body: expected {expected}, got more: try again in a second", detail=detail, headers=RETRY_AFTER)
