"""Bayeux over WebSocket: text messages, each one Bayeux message or an array of them, in either direction (bayeux.md 1.14)."""

from __future__ import annotations

import structlog
from starlette.types import Receive, Scope, Send

from hub.bayeux.link import SocketLink
from hub.bayeux.ports import Peer
from hub.bayeux.server import BayeuxServer
from hub.core.errors import CloseCode
from hub.security.cookies import STATISTICS_COOKIE, read_cookie
from hub.security.gate import Failure, Gate
from hub.transports.longpolling import BROWSER_COOKIE, browser_cookie, new_cookie_value, session_cookie
from hub.transports.socket import BadFrameError, Socket, TooLargeError

_log = structlog.get_logger(__name__)


class BayeuxWebSocket:
    """The WebSocket side of the Bayeux door."""

    __slots__ = ("_gate", "_server")

    def __init__(self, server: BayeuxServer, gate: Gate) -> None:
        self._server = server
        self._gate = gate

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, statistics: bool) -> None:
        """Converse over one WebSocket until it is over. It is accepted whoever asks: the handshake's reply says who is refused.

        ``statistics``: the path is that of the Statistics API, which has a cookie of its own. ``BAYEUX_BROWSER`` is offered to clients
        without it, and binds what is made with ``ext.authentication``; an anonymous session is bound to it only if the client brought it.
        """
        socket = Socket(scope, receive, send, max_message_bytes=self._server.hub.limits.max_request_bytes)
        headers = scope["headers"]
        statistics_session = read_cookie(headers, STATISTICS_COOKIE)
        cookies = []
        if statistics and statistics_session is None:
            statistics_session = new_cookie_value()
            cookies.append(session_cookie(STATISTICS_COOKIE, statistics_session, scope))
        browser = browser_cookie(headers)
        offered = None
        if browser is None:
            offered = new_cookie_value()
            cookies.append(session_cookie(BROWSER_COOKIE, offered, scope))
        caller = await self._gate.identify(scope, statistics_session=statistics_session)
        peer = Peer(
            principal=caller.principal,
            presented=caller.failure is not Failure.MISSING,
            by_cookie=caller.by_cookie,
            browser=browser,
            offered=offered,
            statistics_session=statistics_session,
        )
        await socket.accept(cookies)
        link = SocketLink(self._server, socket, peer)
        socket.on_drain(link.drained)
        try:
            if self._server.draining:
                socket.close(CloseCode.RESTARTING, "the server stops")
            await _converse(socket, link)
        finally:
            link.gone()


async def _converse(socket: Socket, link: SocketLink) -> None:
    """Hand over what comes until the connection is over. What one message does wrong ends this connection alone."""
    while True:
        try:
            payload = await socket.receive()
        except BadFrameError as fault:
            link.refuse(CloseCode.BAD_MESSAGE, str(fault))
            continue
        except TooLargeError as fault:
            link.refuse(CloseCode.TOO_LARGE, str(fault))
            continue
        if payload is None:
            return
        try:
            await link.receive(payload)
        except Exception:
            _log.exception("bayeux_message_failed")
            socket.close(CloseCode.INTERNAL, "the server failed")
