"""Finds the type of a file that lies in a store, as :mod:`hub.http.filetypes` does, without the whole of it in memory: its first bytes,
the directory of an archive, and for text and old office files all of it in pieces.
"""

from __future__ import annotations

import asyncio
import codecs
import io
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

from hub.http import filetypes
from hub.objects.store import Span
from hub.objects.threads import in_thread

Reader = Callable[[Span], Awaitable[AsyncIterator[bytes]]]
"""Opens a part of a file; its bytes come in pieces."""

MAX_DIRECTORY_BYTES: Final = 1024 * 1024
"""Bytes of an archive that are read to find its members; one with a longer directory is an archive of any kind."""

_READ_AHEAD: Final = 64 * 1024
_SMALL_BYTES: Final = 64 * 1024
"""Bytes of a file that is read once; of a larger one, each part when it is needed."""
_LOOKED_BYTES: Final = 64 * 1024
"""Bytes that are looked at in one piece: about 0.5 ms of the event loop."""
_OVERLAP: Final = max(map(len, filetypes.OLE_MARKERS)) - 1


async def sniff_stored(read: Reader, size: int, charset: str | None = None) -> str:
    """The type of a file of ``size`` bytes by its content, as :func:`hub.http.filetypes.sniff` has it.

    Raises:
        ObjectStoreError: the store does not give it.
    """
    if size <= _SMALL_BYTES:
        read = _kept(await _whole(read, Span(0, size)))
    head = await _whole(read, Span(0, min(size, filetypes.LOOK)))
    kind = filetypes.of_head(head, size)
    if kind == filetypes.ZIP:
        return await _in_zip(read, size, head)
    if kind == filetypes.OLE:
        return await _in_ole(read, size)
    if kind is not None:
        return kind
    for codec in (filetypes.utf_16_of(head, charset), None):
        text = await _as_text(read, size, codec)
        if text is not None:
            return filetypes.of_text(text)
        if codec is None:
            break
    return filetypes.of_binary(head)


async def _whole(read: Reader, span: Span) -> bytes:
    return b"".join([piece async for piece in await read(span)])


def _kept(content: bytes) -> Reader:
    """A reader of a file whose content is in memory."""

    async def pieces(span: Span) -> AsyncIterator[bytes]:
        yield content[span.start : span.end]

    async def read(span: Span) -> AsyncIterator[bytes]:
        return pieces(span)

    return read


@asynccontextmanager
async def _opened(read: Reader, size: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of a whole file; what they come from is closed, however early the caller has seen enough."""
    pieces = await read(Span(0, size))
    parts = _short(pieces)
    try:
        yield parts
    finally:
        await parts.aclose()
        await pieces.aclose()  # type: ignore[attr-defined] # every store yields from a generator


async def _short(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces that are looked at at once; the event loop goes on in between."""
    async for piece in pieces:
        for start in range(0, len(piece), _LOOKED_BYTES):
            if start:
                await asyncio.sleep(0)
            yield piece[start : start + _LOOKED_BYTES]


async def _as_text(read: Reader, size: int, codec: str | None) -> bytes | None:
    """The first bytes of a text, in UTF-8; None: it is none. ``codec`` is the UTF-16 that it is in."""
    wide = None if codec is None else codecs.getincrementaldecoder(codec)()
    utf_8 = codecs.getincrementaldecoder("utf-8")()
    strict = True  # whether all so far is UTF-8
    head = b""
    async with _opened(read, size) as pieces:
        async for piece in pieces:
            if wide is not None:
                try:
                    piece = wide.decode(piece).encode()
                except UnicodeError:
                    return None
            if filetypes.BINARY.search(piece):
                return None
            if len(head) < filetypes.LOOK:
                head = (head + piece)[: filetypes.LOOK]
            if strict:
                try:
                    utf_8.decode(piece)
                except UnicodeDecodeError:
                    strict = False
    try:
        if wide is not None:
            wide.decode(b"", final=True)
        if strict:
            utf_8.decode(b"", final=True)
    except UnicodeError:
        if wide is not None:
            return None
        strict = False
    # content that begins like a program is text only if it is valid UTF-8
    return None if not strict and head.startswith(b"MZ") else head


async def _in_ole(read: Reader, size: int) -> str:
    found: set[bytes] = set()
    end = b""
    async with _opened(read, size) as pieces:
        async for piece in pieces:
            looked = end + piece
            found.update(marker for marker in filetypes.OLE_MARKERS if marker not in found and marker in looked)
            end = looked[-_OVERLAP:]
    return filetypes.in_ole(found)


async def _in_zip(read: Reader, size: int, head: bytes) -> str:
    known = _Known(size)
    known.add(0, head)
    left = MAX_DIRECTORY_BYTES
    while True:
        try:
            # a thread: a directory of thousands of members takes longer than the loop may be held
            return await in_thread(filetypes.in_zip, cast("io.BytesIO", _View(known)), head)
        except _MissingError as missing:
            start, end = missing.span
            end = min(size, max(end, start + _READ_AHEAD))
            left -= end - start
            if left < 0:
                return filetypes.ZIP
            known.add(start, await _whole(read, Span(start, end)))


class _MissingError(Exception):
    """A part of a file is needed that was not read yet."""

    def __init__(self, span: Span) -> None:
        super().__init__(span)
        self.span = span


class _Known:
    """The parts of a file that were read."""

    __slots__ = ("_parts", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._parts: list[tuple[int, bytes]] = []

    def add(self, start: int, content: bytes) -> None:
        self._parts.append((start, content))

    def get(self, span: Span) -> bytes:
        for start, content in self._parts:
            if start <= span.start and span.end <= start + len(content):
                return content[span.start - start : span.end - start]
        raise _MissingError(span)


class _View(io.RawIOBase):
    """A file of which parts are known; reading another raises :class:`_MissingError`."""

    def __init__(self, known: _Known) -> None:
        self._known = known
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._known.size}[whence] + offset
        if at < 0:
            raise OSError("seek before the start of a file")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._known.size if size < 0 else min(self._known.size, self._at + size)
        if end <= self._at:
            return b""
        content = self._known.get(Span(self._at, end))
        self._at = end
        return content
