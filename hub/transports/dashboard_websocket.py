"""Serves ``/ws``: WebSockets of dashboards that use no CometD library (docs/protocol/dashboard.md#conversation)."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from hub.core.errors import CloseCode, RefusedError
from hub.core.hub import Hub
from hub.core.session_ids import new_stream_id
from hub.dashboard.conversation import Conversation, DashboardCounters
from hub.http.security_headers import SECURITY_HEADERS
from hub.security.connections import admit, connection_of
from hub.security.cookies import statistics_cookie
from hub.security.gate import Failure, Gate
from hub.transports.receive_loop import receive_loop
from hub.transports.socket import Socket
from hub.transports.upgrade import identify

_PATHS = frozenset({"/ws", "/ws/"})

_DRAIN_SLICES_PER_SECOND = 20

_UPGRADE_BODY = b'{"status":{"code":426,"message":"expected a WebSocket upgrade, got a plain HTTP request"}}'
_UPGRADE_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_UPGRADE_BODY)).encode("ascii")),
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
    (b"cache-control", b"no-store"),
    *SECURITY_HEADERS,
]


class DashboardEndpoint:
    """A :class:`hub.transports.dispatcher.Endpoint`. Scripts in a browser cannot see the HTTP status of a refused upgrade. So every
    WebSocket is accepted, and a refused one is then closed with a close code.
    """

    __slots__ = ("_conversations", "_draining", "_gate", "_hub", "counters")

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate
        self._conversations: dict[Conversation, None] = {}
        self._draining = False
        self.counters = DashboardCounters()

    def serves(self, path: str) -> bool:
        """``/ws``, with or without a trailing slash."""
        return path in _PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 426, "headers": _UPGRADE_HEADERS})
            await send({"type": "http.response.body", "body": _UPGRADE_BODY})
            return
        socket = Socket(scope, receive, send, max_message_bytes=self._hub.limits.max_request_bytes)
        caller = await identify(self._gate, scope, socket)
        if caller is None:
            return
        statistics_session = statistics_cookie(scope["headers"])
        await socket.accept()
        conversation = Conversation(
            self._hub,
            socket,
            self._gate,
            identifier=new_stream_id(self._hub.incarnation),
            counters=self.counters,
            statistics_session=statistics_session,
            admit=lambda principal: admit(scope, anonymous=principal.anonymous, tenant=principal.tenant),
        )
        socket.on_drain(conversation.drained)
        self._conversations[conversation] = None
        ticket = caller.ticket
        try:
            if ticket is not None:
                await self._gate.tickets.opened(ticket, conversation.give_way)
            if self._draining:
                conversation.close(CloseCode.RESTARTING, "the server stops")
            elif (too_often := self._too_often(scope)) is not None:
                self.counters.too_many += 1
                conversation.close(CloseCode.TOO_MANY, too_often)
            elif caller.principal is None and caller.failure is not Failure.MISSING:
                conversation.refuse()
            elif caller.principal is not None and not self._gate.still_good(caller.principal):
                conversation.refuse()  # it ended since it was identified, and no session was there to be told
            else:
                conversation.open(caller.principal)
            await receive_loop(
                socket,
                conversation.receive,
                conversation.bad_frame,
                conversation.close,
                clock=self._hub.clock,
                loop=self._hub.loop,
                log_event="dashboard_message_failed",
            )
        finally:
            del self._conversations[conversation]
            conversation.gone()
            if ticket is not None:
                self._gate.tickets.closed(ticket)

    def _too_often(self, scope: Scope) -> str | None:
        """Why this address may not open a session now; None when it may."""
        connection = connection_of(scope)
        try:
            self._hub.sessions.check_rate(None if connection is None else connection.limited_address)
        except RefusedError as refused:
            return refused.detail
        return None

    async def drain(self, seconds: float) -> None:
        """Close every connection with 1012, spread over at most ``seconds``, so that the clients do not all reconnect at once. A few
        clients take less time: ``_DRAIN_SLICES_PER_SECOND`` of them are closed a second. A new connection is closed at once.
        """
        self._draining = True
        open_now = list(self._conversations)
        # with few connections the drain takes less time
        slices = max(1, min(int(seconds * _DRAIN_SLICES_PER_SECOND), len(open_now)))
        for number in range(slices):
            if number:
                await asyncio.sleep(1 / _DRAIN_SLICES_PER_SECOND)
            for conversation in open_now[number::slices]:
                conversation.close(CloseCode.RESTARTING, "the server stops")
