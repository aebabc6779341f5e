"""The interface of a server that takes prebuilt WebSocket frames."""

from collections.abc import Callable
from typing import Protocol

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # native where that is built

from hub.core.frames import DirectWrite

EXTENSION = "hub.frames"
"""Key of ``scope["extensions"]`` under which a server that takes prebuilt frames offers its :class:`FrameWriter`."""

MAX_REASON_BYTES = 123
"""Bytes: a control frame carries at most 125 (RFC 6455 section 5.5), two of which are the close code."""

_FINAL_TEXT = 0x81
_MASKED = 0x80
_SIZE_16 = 126
_MASK_BYTES = 4
_LEAST_FRAME = 6


class FrameWriter(Protocol):
    """A connection that writes prebuilt frames at once. No method awaits, none but :attr:`direct_write` raises."""

    def claim(self, on_drain: Callable[[], None]) -> None:
        """Take the connection over: text messages then arrive as the received bytes, in ``{"type": "hub.text", "payload": bytes}``.
        ``on_drain`` is called each time that buffered bytes have all been written.
        """
        ...

    def on_writable_changed(self, callback: Callable[[DirectWrite | None], object]) -> None:
        """Call ``callback`` with :attr:`direct_write` whenever that changes."""
        ...

    def listen(self, on_text: DirectWrite | None) -> None:
        """While ``on_text`` is set, the server may call it with a text message, in place of ``receive`` of ASGI, if no earlier message
        waits. If the result is not None, the next ``receive`` returns it as ``{"type": "hub.begun", "payload": result}``.
        """
        ...

    def accepted(self) -> None:
        """Drop the data that only the opening handshake needed, such as the request's headers. Else each of thousands of idle connections
        would keep some kilobytes of it.
        """
        ...

    @property
    def direct_write(self) -> DirectWrite | None:
        """The ``write`` of the transport, while no bytes are buffered and neither side has begun to close; else None."""
        ...

    def write_frame(self, frame: bytes) -> bool:
        """Write one or more whole frames to the transport; False when the connection is closing or gone."""
        ...

    def start_close(self, code: int, reason: str) -> None:
        """Send a close frame after the buffered bytes; a peer that does not answer it in time is cut off."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the operating system has not taken yet."""
        ...

    @property
    def writable_now(self) -> bool:
        """Whether the WebSocket is accepted and neither side has begun to close."""
        ...


def fit_reason(reason: str) -> str:
    """``reason`` cut so that a close frame can carry it, never inside a character."""
    return reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore")


def whole_text(data: bytes, start: int, max_bytes: int) -> tuple[bytes, int] | None:
    """The payload of the text message that begins at ``start`` of ``data`` and is one whole frame, as a client sends it (RFC 6455 section
    5.2: final, masked, no reserved bit), and the index of its end in ``data``. None if there is no such frame at ``start``.
    """
    if len(data) - start < _LEAST_FRAME or data[start] != _FINAL_TEXT:
        return None
    size = data[start + 1] - _MASKED
    mask = start + 2
    if size == _SIZE_16:
        size = data[mask] << 8 | data[mask + 1]
        mask += 2
    elif not 0 <= size < _SIZE_16:  # not masked, or 64 bits long
        return None
    begin = mask + _MASK_BYTES
    end = begin + size
    if end > len(data) or size > max_bytes:
        return None
    return apply_mask(data[begin:end], data[mask:begin]), end
