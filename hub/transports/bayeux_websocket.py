"""Bayeux over WebSocket. In both directions, each text message is one Bayeux message or an array of them
(docs/protocol/bayeux.md#websocket).
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from hub.bayeux.ports import Peer
from hub.bayeux.server import BayeuxServer
from hub.bayeux.websocket import WebSocketConnection
from hub.core.errors import CloseCode
from hub.security.connections import connection_of
from hub.security.cookies import STATISTICS_COOKIE, new_cookie_value, statistics_cookie
from hub.security.gate import Failure, Gate
from hub.transports.longpolling import BROWSER_COOKIE, browser_cookies, other_site, session_cookie
from hub.transports.receive_loop import receive_loop
from hub.transports.relaying import OFFERED, SessionRelay, was_relayed
from hub.transports.socket import Socket
from hub.transports.upgrade import identify


class BayeuxWebSocket:
    """The WebSocket side of the Bayeux endpoint."""

    __slots__ = ("_gate", "_relay", "_server")

    def __init__(self, server: BayeuxServer, gate: Gate, relay: SessionRelay | None = None) -> None:
        """``relay`` serves the sessions of other nodes; None where the hub is this process alone."""
        self._server = server
        self._relay = relay
        self._gate = gate

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, statistics: bool) -> None:
        """Serve one WebSocket until it is closed. It is accepted without a credential; the reply to the Bayeux handshake refuses a client.

        ``statistics``: the path is that of the Statistics API, which has its own cookie. A client without the cookie ``BAYEUX_BROWSER`` is
        given one; a session that was opened without a credential in a header belongs to that cookie.
        """
        socket = Socket(scope, receive, send, max_message_bytes=self._server.hub.limits.max_request_bytes)
        headers = scope["headers"]
        statistics_session = statistics_cookie(headers)
        given: tuple[str | None, str | None] | None = scope.get(OFFERED)
        if given is not None:
            statistics_session = given[1]
        cookies = []
        if statistics and statistics_session is None:
            statistics_session = new_cookie_value()
            cookies.append(session_cookie(STATISTICS_COOKIE, statistics_session, scope))
        browsers = browser_cookies(headers)
        offered = None if given is None else given[0]
        if not browsers and offered is None:
            offered = new_cookie_value() if self._relay is None else self._relay.new_browser()
            cookies.append(session_cookie(BROWSER_COOKIE, offered, scope))
        caller = await identify(self._gate, scope, socket, statistics_session=statistics_session)
        if caller is None:
            return
        peer = Peer(
            principal=caller.principal,
            presented=caller.failure is not Failure.MISSING,
            by_cookie=caller.by_cookie,
            browsers=browsers,
            offered=offered,
            origin=other_site(scope),
            statistics_session=statistics_session,
            connection=connection_of(scope),
        )
        relay = None if was_relayed(scope) else self._relay
        remote_scope = scope if relay is None else {**scope}  # its headers are dropped when it is accepted
        await socket.accept(cookies)
        connection = WebSocketConnection(self._server, socket, peer)
        if relay is not None:
            connection.remote = relay.socket(remote_scope, connection, socket, statistics_session)
        socket.on_drain(connection.drained)
        try:
            if self._server.draining and not was_relayed(scope):  # else the messages are answered, and the socket may go on
                socket.close(CloseCode.RESTARTING, "the server stops")
            hub = self._server.hub
            await receive_loop(
                socket,
                connection.receive,
                connection.refuse,
                socket.close,
                clock=hub.clock,
                loop=hub.loop,
                log_event="bayeux_message_failed",
            )
        finally:
            connection.gone()
