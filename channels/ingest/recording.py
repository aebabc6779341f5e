"""Reads recordings from a file or standard input: CloudEvents as NDJSON or a JSON array, or Asterisk's queue_log; plain or gzipped."""

import asyncio
import codecs
import io
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from channels.events import encode_cloudevent, format_time, parse_time
from channels.ingest.queue_log import Converter
from channels.ingest.queue_log_line import LineError
from hub.client.pace import Due

READ_BYTES: Final = 64 * 1024
"""Bytes that one read asks for, at most."""
_STDIN: Final = 0
_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # the value by which zlib expects a gzip header and uses the largest window
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the longest line that is read."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()


class RecordingError(Exception):
    """The file as a whole cannot be read as events."""


def open_recording(name: str, *, stdin: int = _STDIN) -> io.FileIO:
    """Open a recording, unbuffered; ``-`` is standard input, whose file descriptor is ``stdin``.

    Raises:
        OSError: the file cannot be opened.
    """
    return io.FileIO(stdin, closefd=False) if name == "-" else io.FileIO(name)


async def read_events(
    stream: io.FileIO, *, read_bytes: int = READ_BYTES, max_event_bytes: int = MAX_EVENT_BYTES
) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the events as text, each with its place (``line 7`` or ``event 7``). Reads in a thread: standard input may be a live pipe.

    Raises:
        RecordingError: the JSON array is malformed, a line is longer than ``max_event_bytes``, or the compressed data is damaged.
    """
    pieces = _read_pieces(stream, read_bytes)
    head = b""
    async for piece in pieces:
        head += piece
        if head.strip():
            break
    head = head.removeprefix(codecs.BOM_UTF8)
    if head.lstrip()[:1] == b"[":
        rest = [piece async for piece in pieces]
        try:
            events = _array.decode(head + b"".join(rest))
        except (msgspec.DecodeError, RecursionError) as error:
            raise RecordingError(f"expected a JSON array of events, got a fault: {error}") from None
        for number, event in enumerate(events, 1):
            yield f"event {number}", bytes(event)
        return
    async for place, line in _lines(head, pieces, max_event_bytes):
        yield place, line


async def read_lines(stream: io.FileIO) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the lines that are not empty, each with its place (``line 7``). Reads in a thread: standard input may be a live pipe.

    Raises:
        RecordingError: a line is longer than MAX_EVENT_BYTES, or the compressed data is damaged.
    """
    async for place, line in _lines(b"", _read_pieces(stream, READ_BYTES), MAX_EVENT_BYTES):
        yield place, line


async def _lines(head: bytes, pieces: AsyncIterator[bytes], max_event_bytes: int) -> AsyncIterator[tuple[str, bytes]]:
    number = 0
    waiting = head
    while True:
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                yield f"line {number}", line
        if len(waiting) > max_event_bytes:
            raise RecordingError(f"line {number + 1}: expected at most {max_event_bytes} bytes, got more")
        try:
            waiting += await anext(pieces)
        except StopAsyncIteration:
            break
    if waiting.strip():
        yield f"line {number + 1}", waiting


async def _read_pieces(stream: io.FileIO, read_bytes: int) -> AsyncIterator[bytes]:
    """Yield the content of the file in pieces, decompressed if it begins like gzip (RFC 1952; several members may follow one another)."""
    piece = await _read(stream, read_bytes)
    packed = piece[:2] == _GZIP
    unpack = zlib.decompressobj(_GZIP_WINDOW)
    while piece:
        if not packed:
            yield piece
        else:
            try:
                yield unpack.decompress(piece)
                while unpack.eof and unpack.unused_data:
                    rest, unpack = unpack.unused_data, zlib.decompressobj(_GZIP_WINDOW)
                    yield unpack.decompress(rest)
            except zlib.error as error:
                raise RecordingError(f"expected gzip data, got a fault: {error}") from None
        piece = await _read(stream, read_bytes)
    if packed and not unpack.eof:
        raise RecordingError("expected the end of the gzip data, the file ends before it")


async def _read(stream: io.FileIO, read_bytes: int) -> bytes:
    """Read once, in a daemon thread: a read of standard input may never end, and must not keep the command from ending."""
    loop = asyncio.get_running_loop()
    piece: asyncio.Future[bytes] = loop.create_future()

    def settle(data: bytes | None, error: OSError | None) -> None:
        if piece.done():
            return
        if error is not None:
            piece.set_exception(RecordingError(f"cannot be read: {error.strerror}"))
        else:
            piece.set_result(data or b"")

    def read() -> None:
        data: bytes | None = None
        problem: OSError | None = None
        try:
            data = stream.read(read_bytes)
        except OSError as error:
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, data, problem)

    threading.Thread(target=read, name="recording", daemon=True).start()
    return await piece


Refuse = Callable[[str, str], None]
"""``refuse(reason, place)`` is called for each text that is not an event."""

Places = AsyncIterator[tuple[str, bytes]]
"""Events as text, each with its place."""


async def converted(stream: io.FileIO, refuse: Refuse, converter: Converter) -> Places:
    """Yield the events of Asterisk's queue_log, each with the place of its line."""
    async for place, line in read_lines(stream):
        try:
            events = converter.take(line.decode("utf-8", "replace"))
        except LineError as error:
            refuse(str(error), place)
            continue
        for event in events:
            yield place, encode_cloudevent(event)


async def as_recorded(events: Places, refuse: Refuse) -> AsyncIterator[Due]:
    """Yield every event unchanged, due at once."""
    async for place, text in events:
        try:
            time_ms = _time_of(_attributes(text))
        except ValueError as error:
            refuse(str(error), place)
            continue
        yield Due(0.0, text, time_ms, place)


async def shifted(events: Places, refuse: Refuse, *, start_ms: int, speed: float, skip_ms: int = 0) -> AsyncIterator[Due]:
    """Yield every event with another time: the first happens at ``start_ms``, and the gaps between events are divided by ``speed``. What
    happens within ``skip_ms`` of the first happens with it, without a gap.

    Only ``time`` changes; the text of all other members stays the same.
    """
    first_ms: int | None = None
    async for place, text in events:
        try:
            attributes = _attributes(text)
            time_ms = _time_of(attributes)
        except ValueError as error:
            refuse(str(error), place)
            continue
        if first_ms is None:
            first_ms = time_ms
        passed_ms = time_ms - first_ms
        after_ms = (max(0, passed_ms - skip_ms) if skip_ms else passed_ms) / speed
        attributes["time"] = msgspec.Raw(f'"{format_time(start_ms + int(after_ms))}"'.encode())
        yield Due(after_ms / 1000, _encoder.encode(attributes), time_ms, place)


def _attributes(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected an event as a JSON object, got a fault: {error}") from None


def _time_of(attributes: dict[str, msgspec.Raw]) -> int:
    if "time" not in attributes:
        raise ValueError("time: expected an RFC 3339 time, got nothing")
    try:
        return parse_time(msgspec.json.decode(attributes["time"], type=str))
    except ValueError as error:  # msgspec's errors are ValueErrors too
        raise ValueError(f"time: expected {error}, got {bytes(attributes['time'])[:60].decode(errors='replace')}") from None
