"""The direct way of a WebSocket in a world of the test's own: it takes frames while nothing waits unread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from hub.core.frames import DirectWrite


def payloads(frames: bytes) -> list[bytes]:
    """What stands in final text frames of a server (RFC 6455 section 5.2)."""
    found = []
    while frames:
        assert frames[0] == 0x81, frames[:20]
        size, head = frames[1], 2
        if size == 126:
            size, head = int.from_bytes(frames[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(frames[2:10], "big"), 10
        assert len(frames) >= head + size
        found.append(frames[head : head + size])
        frames = frames[head + size :]
    return found


class DirectWay(ABC):
    """A connection whose way is direct, or is not, as the test says; it tells when that changes."""

    def __init__(self, *, direct: bool) -> None:
        self._direct = direct
        self._buffered = 0
        self._writable_changed: Callable[[DirectWrite | None], object] | None = None

    @property
    @abstractmethod
    def open(self) -> bool:
        """Whether it takes anything."""

    @abstractmethod
    def got(self, payload: bytes) -> None:
        """One message came."""

    @abstractmethod
    def breaks(self) -> bool:
        """Whether the connection is found to be broken by the next write."""

    def on_writable_changed(self, callback: Callable[[DirectWrite | None], object]) -> None:
        """See :class:`hub.bayeux.ports.Connection`."""
        self._writable_changed = callback

    def writable_changed(self) -> None:
        """Tell the conversation that :attr:`direct_write` is another."""
        if self._writable_changed is not None:
            self._writable_changed(self.direct_write)

    @property
    def buffered(self) -> int:
        """Bytes that wait unread."""
        return self._buffered

    @buffered.setter
    def buffered(self, size: int) -> None:
        self._buffered = size
        self.writable_changed()

    @property
    def direct_write(self) -> DirectWrite | None:
        """See :class:`hub.bayeux.ports.Connection`."""
        return self._write_frames if self._direct and self.open and not self._buffered else None

    def _write_frames(self, frames: bytes) -> None:
        if self.breaks():  # found before anything was taken
            raise OSError("the connection was lost")
        for payload in payloads(frames):
            self.got(payload)
