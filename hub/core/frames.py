"""Encoded messages to bytes on the wire: JSON arrays, and RFC 6455 frames as a server sends them.

Server frames are unmasked, never fragmented here, and without state, so one can be built once and written as it is to many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct

from hub.core.message import Message

_FINAL_TEXT = 0x81
_HEADERS = [bytes((_FINAL_TEXT, size)) for size in range(126)]
_HEADER_16 = Struct("!BBH")
_HEADER_64 = Struct("!BBQ")


DirectWrite = Callable[[bytes], object]
"""Writes ready frames to a connection at once."""


def text_frame(payload: bytes) -> bytes:
    """One final text frame: a header of 2, 4 or 10 bytes (RFC 6455 section 5.2) and ``payload``, which must be valid UTF-8."""
    size = len(payload)
    if size < 126:
        return _HEADERS[size] + payload
    if size < 65536:
        return _HEADER_16.pack(_FINAL_TEXT, 126, size) + payload
    return _HEADER_64.pack(_FINAL_TEXT, 127, size) + payload


def array(parts: Iterable[bytes]) -> bytes:
    """One JSON array of encoded messages."""
    return b"[%b]" % b",".join(parts)


def arrays(parts: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """JSON arrays of encoded messages, in order, each of up to ``max_bytes`` payload unless a single message is larger; and how many
    messages each holds.
    """
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        if waiting and size + len(part) > max_bytes:
            yield array(waiting), len(waiting)
            waiting = []
            size = 0
        waiting.append(part)
        size += len(part) + 1
    if waiting:
        yield array(waiting), len(waiting)


def text_frames(parts: Sequence[bytes], max_bytes: int) -> list[tuple[bytes, int]]:
    """Encoded messages as text frames, each one of the :func:`arrays`, and how many messages each holds."""
    return [(text_frame(payload), count) for payload, count in arrays(parts, max_bytes)]


def payload_of(frame: bytes) -> bytes:
    """The payload of one frame that :func:`text_frame` made."""
    size = frame[1]
    return frame[2:] if size < 126 else frame[4:] if size == 126 else frame[10:]


class FrameCache:
    """Builds the frames in which the sessions of one endpoint get messages over a WebSocket. It keeps the last ones: sessions that get
    the same messages get the same bytes, built once.
    """

    __slots__ = ("_encode", "_frames", "_max_frame_bytes", "_messages")

    def __init__(self, encode: Callable[[Message], bytes], max_frame_bytes: int) -> None:
        self._encode = encode
        self._max_frame_bytes = max_frame_bytes
        # what was asked for last: in one flush most sessions ask for the same
        self._messages: Sequence[Message] = ()
        self._frames = b""

    def frames(self, messages: Sequence[Message]) -> bytes:
        """The frames of some messages, one behind the other. The caller changes ``messages`` no more."""
        if messages != self._messages:  # messages are compared by identity
            encode = self._encode
            if len(messages) == 1:  # nearly always
                self._frames = text_frame(b"[%b]" % encode(messages[0]))
            else:
                frames = text_frames([encode(message) for message in messages], self._max_frame_bytes)
                self._frames = b"".join([frame for frame, _ in frames])
            self._messages = messages
        return self._frames


class FrameCaches:
    """The frame caches of all WebSocket endpoints, one for each form on the wire."""

    __slots__ = ("bayeux", "dashboard", "replayable")

    def __init__(self, max_frame_bytes: int) -> None:
        self.bayeux = FrameCache(Message.bayeux, max_frame_bytes)
        self.replayable = FrameCache(Message.replayable, max_frame_bytes)
        self.dashboard = FrameCache(Message.dashboard, max_frame_bytes)
