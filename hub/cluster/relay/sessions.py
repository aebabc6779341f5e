"""The sessions of other nodes, as the Bayeux transports of this one reach them."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.types import Receive, Scope, Send

from hub.bayeux.ports import Connection
from hub.bayeux.websocket import WebSocketConnection
from hub.cluster.ports import Links
from hub.cluster.relay.homes import Homes
from hub.cluster.relay.http import HttpRelay
from hub.cluster.relay.socket import RelayedSocket
from hub.cluster.relay.tuning import RelayTuning
from hub.cluster.relay.wire import SocketHead, encode, head_of
from hub.core.limits import Limits
from hub.security.connections import connection_of


class RelayedSessions:
    """A :class:`hub.transports.relaying.SessionRelay`."""

    __slots__ = ("_counters", "_homes", "_http", "_links", "_max_unread", "_timeout_s", "_tuning")

    def __init__(self, links: Links, http: HttpRelay, homes: Homes, limits: Limits, tuning: RelayTuning) -> None:
        self._links = links
        self._http = http
        self._homes = homes
        self._tuning = tuning
        self._timeout_s = limits.timeout_ms / 1000 + tuning.patience_s
        self._max_unread = limits.max_queue_bytes
        self._counters = http.counters

    def home_of(self, browser: str) -> str | None:
        """See :meth:`hub.transports.relaying.SessionRelay.home_of`."""
        return self._homes.of(browser)

    def new_browser(self) -> str:
        """See :meth:`hub.transports.relaying.SessionRelay.new_browser`."""
        return self._homes.new_browser()

    async def relay(self, scope: Scope, receive: Receive, send: Send, node: str, body: bytes) -> None:
        """See :meth:`hub.transports.relaying.SessionRelay.relay`."""
        await self._http.send_on(scope, receive, send, node, body, timeout_s=self._timeout_s, confirm=True)

    def socket(self, scope: Scope, connection: WebSocketConnection, socket: Connection, statistics_session: str | None) -> RelayedSocket:
        """See :meth:`hub.transports.relaying.SessionRelay.socket`."""
        return RelayedSocket(
            self._links,
            self._counters,
            encode(SocketHead(head_of(scope), connection.peer.offered, statistics_session)),
            connection,
            socket,
            connection_of(scope),
            max_unread=self._max_unread,
            tuning=self._tuning,
        )

    def __len__(self) -> int:
        return len(self._http)

    def release(self) -> Iterator[None]:
        """See :meth:`hub.cluster.relay.http.HttpRelay.release`."""
        return self._http.release()
