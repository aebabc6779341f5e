"""The end of a connection whose client may be sending still (RFC 9112 section 9.6).

If the hub closes a connection while unread bytes arrive, the operating system resets it, and the client may lose an answer that it has not
read. So the hub first closes only its sending side, then reads and drops what the client sends. It closes the connection when the client
has closed, has sent more than ``limits.max_linger_bytes``, or after ``limits.linger_ms``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from hub.core.limits import Limits


class Counters(Protocol):
    """Counts the connections that the hub closed before their client did (:class:`hub.transports.http_config.HttpCounters`)."""

    closed_amid_sending: int


class LingeringConnections:
    """The lingering connections of one process."""

    __slots__ = ("_counters", "_limits", "count")

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self.count = 0
        """Lingering connections that are not closed yet."""

    def begin(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> LingeringClose | None:
        """Begin to close a connection after the bytes that are written to it. None if it was closed at once, because
        ``limits.max_lingering`` other connections are lingering already.
        """
        if self.count >= self._limits.max_lingering:
            self.cut(transport)
            return None
        transport.write_eof()
        return LingeringClose(self, self._limits, transport, loop)

    def cut(self, transport: asyncio.Transport) -> None:
        """Close a connection, although its client may still be sending."""
        self._counters.closed_amid_sending += 1
        transport.close()


class LingeringClose:
    """One lingering connection. Its protocol reports how many bytes it dropped, and when the connection is lost."""

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
        """Count ``size`` bytes that the client sent and the protocol dropped."""
        self._left_bytes -= size
        if self._left_bytes < 0 and not self._transport.is_closing():
            self._cut()

    def lost(self) -> None:
        """Stop the timer: the connection is closed."""
        self._timer.cancel()
        self._connections.count -= 1

    def _cut(self) -> None:
        self._connections.cut(self._transport)


class ClosesLingering:
    """The transport of a request whose body was incomplete when the application began. An answer that ends the connection may be complete
    before the body is; then :meth:`close` lingers.
    """

    __slots__ = ("_close", "_transport")

    def __init__(self, transport: asyncio.Transport, close: Any) -> None:
        """``close`` is called in place of the transport's own ``close``."""
        self._transport = transport
        self._close = close

    def close(self) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
