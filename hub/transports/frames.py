"""What a server that takes prebuilt frames offers the doors."""

from collections.abc import Callable
from typing import Protocol

EXTENSION = "hub.frames"
"""Key of ``scope["extensions"]`` under which a server that takes prebuilt frames offers its :class:`FrameWriter`."""

MAX_REASON_BYTES = 123
"""A control frame carries at most 125 bytes (RFC 6455 section 5.5), two of them are the close code."""


class FrameWriter(Protocol):
    """A connection that writes prebuilt frames at once. No method awaits, none but :attr:`express` raises."""

    def claim(self, on_drain: Callable[[], None], on_flow: Callable[[], None]) -> None:
        """Take the connection over: text messages then arrive as bytes, as they came, in ``{"type": "hub.text", "payload": bytes}``;
        ``on_drain`` is called when bytes waited and wait no more, ``on_flow`` when :attr:`express` is another.
        """
        ...

    def accepted(self) -> None:
        """The opening handshake is over: let go of what only that needed, the request's headers among it. Thousands of connections are
        idle, and each would keep some kilobytes of it.
        """
        ...

    @property
    def express(self) -> Callable[[bytes], object] | None:
        """The transport's own write while nothing waits and neither side has begun to close, else None."""
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


def fit_reason(reason: str) -> str:
    """``reason`` cut so that a close frame can carry it, never inside a character."""
    return reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore")
