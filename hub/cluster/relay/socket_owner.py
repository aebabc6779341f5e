"""Answers the WebSockets that other nodes hold, by this node's own Bayeux endpoint (docs/scaling.md#a-relayed-websocket)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message

from hub.cluster.ports import Call, LinkError
from hub.cluster.relay.connection import RelayedConnection
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.wire import Closed, SocketText, decode_socket, encode, scope_of
from hub.core.errors import CloseCode
from hub.security.connections import SCOPE_KEY
from hub.transports.relaying import OFFERED


class SocketOwner:
    """Handles calls of the kind ``websocket``. :class:`hub.transports.socket.Socket` is the connection that the session is bound to: bytes
    wait in it while the other node, or its client, reads nothing.
    """

    __slots__ = ("app", "counters")

    def __init__(self, app: ASGIApp, counters: RelayCounters) -> None:
        self.app = app
        self.counters = counters

    async def answer(self, call: Call) -> None:
        """Serve one WebSocket until it is closed at either end.

        Raises:
            msgspec.DecodeError: the other node sent something else.
        """
        head = decode_socket(call.head)
        self.counters.sockets_in += 1
        connection = RelayedConnection(head.request.tenant, let_in=head.request.let_in)
        scope = scope_of(head.request, "websocket", call.hops)
        scope[SCOPE_KEY] = connection
        scope[OFFERED] = (head.offered, head.statistics_session)
        exchange = _Exchange(call, connection)
        await self.app(scope, exchange.receive, exchange.send)


class _Exchange:
    """One WebSocket, as an ASGI application has it. The other node has accepted it."""

    __slots__ = ("_call", "_connection", "_new")

    def __init__(self, call: Call, connection: RelayedConnection) -> None:
        self._call = call
        self._connection = connection
        self._new = True

    async def receive(self) -> Message:
        """``receive`` of ASGI."""
        if self._new:
            self._new = False
            return {"type": "websocket.connect"}
        try:
            await self._tell()
            piece = await self._call.receive()
        except LinkError:
            piece = None
        if piece is None:
            return {"type": "websocket.disconnect", "code": CloseCode.NORMAL}
        return {"type": "websocket.receive", "payload": piece}

    async def send(self, message: Message) -> None:
        """``send`` of ASGI.

        Raises:
            OSError: the other node, or its client, has gone.
        """
        try:
            await self._tell()
            if message["type"] == "websocket.send":
                await self._call.send(encode(SocketText(message["text"].encode())))
            elif message["type"] == "websocket.close":
                await self._call.send(encode(Closed(message.get("code", CloseCode.NORMAL), message.get("reason") or "")), last=True)
        except LinkError as error:
            raise ConnectionResetError(str(error)) from error

    async def _tell(self) -> None:
        if (untold := self._connection.untold()) is not None:
            await self._call.send(encode(untold))
