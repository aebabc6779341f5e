"""The end of a connection whose client may be sending still (RFC 9112 section 9.6).

The system resets a connection that is closed while bytes come that nobody has read, and the client's side drops the answer together with
the connection. So the hub says that it sends no more, reads and drops what comes, and closes when the client has gone, has sent
``limits.max_linger_bytes``, or after ``limits.linger_ms``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from hub.core.limits import Limits


class Counters(Protocol):
    """Where connections are counted that were closed before their client had gone (:class:`hub.transports.http_protocol.HttpCounters`)."""

    closed_amid_sending: int


class LingeringConnections:
    """Those of one process."""

    __slots__ = ("_counters", "_limits", "count")

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self.count = 0
        """Connections that are not closed yet."""

    def begin(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> LingeringClose | None:
        """Close a connection behind what is written to it. None when it is closed at once, since ``limits.max_lingering`` others are not
        yet.
        """
        if self.count >= self._limits.max_lingering:
            self.cut(transport)
            return None
        transport.write_eof()
        return LingeringClose(self, self._limits, transport, loop)

    def cut(self, transport: asyncio.Transport) -> None:
        """Close a connection though its client may be sending still."""
        self._counters.closed_amid_sending += 1
        transport.close()


class LingeringClose:
    """One connection that is about to be closed. Its protocol hands over what comes, and says when it is lost."""

    __slots__ = ("_connections", "_left_bytes", "_timer", "_transport")

    def __init__(
        self, connections: LingeringConnections, limits: Limits, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connections = connections
        self._left_bytes = limits.max_linger_bytes
        self._transport = transport
        self._timer = loop.call_later(limits.linger_ms / 1000, self._cut)
        connections.count += 1

    def dropped(self, size: int) -> None:
        """``size`` bytes came."""
        self._left_bytes -= size
        if self._left_bytes < 0 and not self._transport.is_closing():
            self._cut()

    def lost(self) -> None:
        """The connection is closed."""
        self._timer.cancel()
        self._connections.count -= 1

    def _cut(self) -> None:
        self._connections.cut(self._transport)


class ClosesLingering:
    """The transport of a request whose body had not come whole when the application began: an answer that ends the connection may be
    complete before the body is.
    """

    __slots__ = ("_close", "_transport")

    def __init__(self, transport: asyncio.Transport, close: Any) -> None:
        """``close`` takes the place of the transport's own."""
        self._transport = transport
        self._close = close

    def close(self) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
