"""RFC 6455 frames as a server sends them: unmasked, never fragmented, without state, so one can be built once and written as it is."""

from collections.abc import Callable
from struct import Struct
from typing import Protocol

EXTENSION = "hub.frames"
"""Key of ``scope["extensions"]`` under which a server that takes prebuilt frames offers its :class:`FrameWriter`."""

MAX_REASON_BYTES = 123
"""A control frame carries at most 125 bytes (RFC 6455 section 5.5), two of them are the close code."""

_FINAL_TEXT = 0x81
_HEADER_16 = Struct("!BBH")
_HEADER_64 = Struct("!BBQ")


class FrameWriter(Protocol):
    """A connection that writes prebuilt frames at once. No method awaits, none raises."""

    def claim(self, on_drain: Callable[[], None]) -> None:
        """Take the connection over: text messages then arrive as bytes, as they came, in ``{"type": "hub.text", "payload": bytes}``;
        ``on_drain`` is called when bytes waited and wait no more.
        """
        ...

    def write_frame(self, frame: bytes) -> bool:
        """Hand one or more whole frames to the transport; False when the connection is closing or gone."""
        ...

    def start_close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits; a peer that does not answer it in time is cut off."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the operating system has not taken yet."""
        ...

    @property
    def writable_now(self) -> bool:
        """Accepted, and neither side has begun to close."""
        ...


def text_frame(payload: bytes) -> bytes:
    """One final text frame: a header of 2, 4 or 10 bytes (RFC 6455 section 5.2) and ``payload``, which must be valid UTF-8."""
    size = len(payload)
    if size < 126:
        return bytes((_FINAL_TEXT, size)) + payload
    if size < 65536:
        return _HEADER_16.pack(_FINAL_TEXT, 126, size) + payload
    return _HEADER_64.pack(_FINAL_TEXT, 127, size) + payload


def fit_reason(reason: str) -> str:
    """``reason`` cut so that a close frame can carry it, never inside a character."""
    return reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore")
