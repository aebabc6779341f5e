"""A WebSocket here that leads to a session of another node (docs/scaling.md#a-relayed-websocket)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from hub.bayeux.messages import Incoming
from hub.bayeux.ports import Connection
from hub.bayeux.websocket import WebSocketConnection
from hub.cluster.ports import Call, CallEndedError, LinkError, Links, NodeGoneError, TooSlowError
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.tuning import RelayTuning
from hub.cluster.relay.wire import Admitted, Closed, SocketText, decode_to_socket
from hub.core.errors import CloseCode
from hub.core.frames import text_frame
from hub.security.connections import ClientConnection

KIND: Final = "websocket"
"""The kind of these calls between nodes."""

MAX_UNANSWERED: Final = 1000
"""Messages without a reply that are remembered for one socket. The link takes about that many before the owner reads them."""

_KEPT_OPEN: Final = frozenset({CloseCode.NORMAL, CloseCode.RESTARTING})
"""With these codes the owner says that the socket leads to no session there any more, or that it stops: the socket itself goes on."""

_log = structlog.get_logger(__name__)


class _Reply(msgspec.Struct, frozen=True):
    """What is read of a message to the client to know whether it is a reply, and to which request."""

    channel: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    successful: bool | None = None


_replies: Final = msgspec.json.Decoder(list[_Reply])


class RelayedSocket:
    """A :class:`hub.bayeux.websocket.RemoteSessions`. It leads to one node at a time."""

    __slots__ = (
        "_call",
        "_client",
        "_connection",
        "_counters",
        "_gone",
        "_head",
        "_links",
        "_lock",
        "_max_unread",
        "_reader",
        "_room",
        "_socket",
        "_tuning",
        "_unanswered",
    )

    def __init__(
        self,
        links: Links,
        counters: RelayCounters,
        head: bytes,
        connection: WebSocketConnection,
        socket: Connection,
        client: ClientConnection | None,
        *,
        max_unread: int,
        tuning: RelayTuning,
    ) -> None:
        """``head``: the opening handshake of the WebSocket. ``client``: its connection, as it is counted. While the peer has more than
        ``max_unread`` bytes unread, nothing more is taken from the owner.
        """
        self._links = links
        self._counters = counters
        self._head: bytes | None = head
        self._connection = connection
        self._socket = socket
        self._client = client
        self._max_unread = max_unread
        self._tuning = tuning
        self._gone = False
        self._lock: asyncio.Lock | None = None
        """Held while a message is sent on; None before the first one."""
        # while it leads to a node
        self._call: Call | None = None
        self._reader: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None
        self._unanswered: dict[tuple[str, bytes | None], Incoming] = {}

    # -- what the conversation calls --------------------------------------------------------------------------------

    async def take(self, incarnation: str, payload: bytes, messages: Sequence[Incoming]) -> bool:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.take`."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            return await self._send(incarnation, payload, messages)

    async def _send(self, incarnation: str, payload: bytes, messages: Sequence[Incoming]) -> bool:
        call = self._call
        if call is None or call.node != incarnation:
            if self._head is None:  # it has led to a session here: such a client shakes hands again
                return False
            try:
                call = await self._links.open(incarnation, KIND, self._head)
            except NodeGoneError:  # where it leads to now, it goes on leading
                self._counters.failed_gone += 1
                return False
            except LinkError as error:
                self._give_up(error)
                return True
            if self._gone:  # while the link was waited for
                call.cancel()
                return True
            self._end()
            self._begin(call)
        for message in messages:
            if len(self._unanswered) >= MAX_UNANSWERED:
                del self._unanswered[next(iter(self._unanswered))]
            self._unanswered[message.channel, message.identifier] = message
        try:
            await call.send(payload)
        except LinkError:  # whoever reads from the call finds out why
            pass
        return True

    def leave(self) -> None:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.leave`. What the opening handshake said is kept no longer: there are thousands of
        sockets with sessions here.
        """
        self._head = None
        self._end()

    def drained(self) -> None:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.drained`."""
        if self._room is not None:
            self._room.set()

    def gone(self) -> None:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.gone`. The owner starts the clock of the session at once."""
        self._gone = True
        self._end()

    # -- towards the owner ------------------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        self._counters.sockets_out += 1
        self._call = call
        self._room = asyncio.Event()
        self._connection.lead_elsewhere()
        self._reader = asyncio.get_running_loop().create_task(self._read(call), name="hub.cluster.socket")

    def _end(self) -> None:
        """Lead to no node any more."""
        call, self._call = self._call, None
        reader, self._reader = self._reader, None
        self._room = None
        self._unanswered.clear()
        if call is not None:
            call.finish()
            call.cancel()
        if reader is not None and reader is not asyncio.current_task():
            reader.cancel()

    async def _read(self, call: Call) -> None:
        try:
            while (piece := await call.receive()) is not None:
                message = decode_to_socket(piece)
                if isinstance(message, SocketText):
                    await self._write(message.payload)
                elif isinstance(message, Admitted):
                    if self._client is not None:
                        self._client.admit(anonymous=message.anonymous, tenant=message.tenant)
                else:
                    await self._closed(call.node, message)
                    return
        except msgspec.DecodeError as error:
            self._give_up(CallEndedError(f"{call.node} sent what cannot be read: {error}"))
        except TooSlowError:
            self._end()
            self._socket.close(CloseCode.TOO_SLOW, "messages are not read")
        except LinkError as error:
            await self._lost(call.node, error)
        else:
            await self._closed(call.node, Closed(CloseCode.NORMAL, ""))

    async def _write(self, payload: bytes) -> None:
        """Write a text message, as fast as the client reads."""
        if self._unanswered and b'"successful":' in payload:
            for reply in _replies.decode(payload):
                if reply.successful is not None:
                    self._unanswered.pop((reply.channel, bytes(reply.id) or None), None)
        self._socket.write(text_frame(payload))
        while self._room is not None and self._socket.open and self._socket.buffered > self._max_unread:
            self._room.clear()
            await self._room.wait()

    async def _closed(self, node: str, message: Closed) -> None:
        """The owner has closed its end. It has read nothing of what was sent to it since, and is asked again."""
        unanswered = list(self._unanswered.values())
        self._end()
        if message.code not in _KEPT_OPEN:
            self._socket.close(message.code, message.reason)
            return
        self._connection.lead_nowhere()
        if unanswered:
            payload = msgspec.json.encode([each.fields for each in unanswered])
            if not await self.take(node, payload, unanswered):
                self._connection.answer_lost(unanswered)

    async def _lost(self, node: str, error: LinkError) -> None:
        """The link broke. A node that has ended is known as soon as nothing listens at its address, or it lapses; until then the client
        waits. Then it gets 402 for what it asked, and may shake hands on this socket. Where the node lives, the socket is closed: the
        session is still there, and the client comes back to it by a new one.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._tuning.lapse_s
        while loop.time() < end:
            try:
                call = await self._links.open(node, KIND, self._head or b"")
            except NodeGoneError:
                self._counters.failed_gone += 1
                unanswered = list(self._unanswered.values())
                self._end()
                self._connection.lead_nowhere()
                if unanswered:
                    self._connection.answer_lost(unanswered)
                return
            except LinkError:
                await asyncio.sleep(self._tuning.look_s)
            else:
                call.cancel()
                break
        self._give_up(error)

    def _give_up(self, error: LinkError) -> None:
        """The owner lives, as far as anybody knows, and cannot be reached."""
        _log.info("relayed_socket_closed", fault=str(error))
        self._counters.failed_unreachable += 1
        self._end()
        self._socket.close(CloseCode.UNAVAILABLE, "the node that has this session does not answer now")
