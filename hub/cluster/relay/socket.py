"""A WebSocket here that leads to a session of another node (docs/scaling.md#a-relayed-websocket)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from hub.bayeux.messages import CONNECT, Incoming
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

MAX_LEAVING: Final = 4
"""Nodes from which one socket still takes replies after it has turned to others."""

_KEPT_OPEN: Final = frozenset({CloseCode.NORMAL, CloseCode.RESTARTING})
"""With these codes the owner says that the socket leads to no session there any more, or that it stops: the socket itself goes on."""

_log = structlog.get_logger(__name__)


class _Reply(msgspec.Struct, frozen=True):
    """What is read of a message to the client to know whether it is a reply, and to which request."""

    channel: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    successful: bool | None = None


_replies: Final = msgspec.json.Decoder(list[_Reply])


class _Lead:
    """The way to one node. When the socket turns to another, replies that are under way still come by it."""

    __slots__ = ("call", "left", "reader", "room", "timer", "unanswered")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.left = False
        """Whether the socket has turned to another node since."""
        self.reader: asyncio.Task[None] | None = None
        self.room = asyncio.Event()
        """Set when the peer has read what waited for it."""
        self.timer: asyncio.TimerHandle | None = None
        """Ends it, if the replies do not come."""
        self.unanswered: dict[tuple[str, bytes | None], Incoming] = {}

    @property
    def awaits_replies(self) -> bool:
        """Whether replies are under way. That to a connect is not waited for: the node holds it."""
        return any(channel != CONNECT for channel, _ in self.unanswered)


class RelayedSocket:
    """A :class:`hub.bayeux.websocket.RemoteSessions`. It leads to one node at a time; replies that are under way from those that it led to
    before are still taken.
    """

    __slots__ = (
        "_client",
        "_connection",
        "_counters",
        "_gone",
        "_head",
        "_lead",
        "_leaving",
        "_links",
        "_lock",
        "_max_unread",
        "_socket",
        "_tuning",
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
        self._lead: _Lead | None = None
        """Where it leads to now."""
        self._leaving: dict[str, _Lead] = {}
        """By node: where it led to before, until the replies have come."""

    # -- what the conversation calls --------------------------------------------------------------------------------

    async def take(self, incarnation: str, payload: bytes, messages: Sequence[Incoming]) -> bool:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.take`."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            return await self._send(incarnation, payload, messages)

    async def _send(self, incarnation: str, payload: bytes, messages: Sequence[Incoming]) -> bool:
        lead = self._lead
        if lead is None or lead.call.node != incarnation:
            if self._head is None:  # it has led to a session here: such a client shakes hands again
                return False
            again = self._leaving.get(incarnation)
            if again is not None:
                lead = self._turn_back(again)
            else:
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
                self._turn_away()
                lead = self._begin(call)
        for message in messages:
            if len(lead.unanswered) >= MAX_UNANSWERED:
                del lead.unanswered[next(iter(lead.unanswered))]
            lead.unanswered[message.channel, message.identifier] = message
        try:
            await lead.call.send(payload)
        except LinkError:  # whoever reads from the call finds out why
            pass
        return True

    def leave(self) -> None:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.leave`. What the opening handshake said is kept no longer: there are thousands of
        sockets with sessions here.
        """
        self._head = None
        self._turn_away()

    def drained(self) -> None:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.drained`."""
        for lead in (self._lead, *self._leaving.values()):
            if lead is not None:
                lead.room.set()

    def gone(self) -> None:
        """See :meth:`hub.bayeux.websocket.RemoteSessions.gone`. The owner starts the clock of the session at once."""
        self._gone = True
        self._end_all()

    # -- towards the owner ------------------------------------------------------------------------------------------

    def _begin(self, call: Call) -> _Lead:
        self._counters.sockets_out += 1
        self._lead = lead = _Lead(call)
        self._connection.lead_elsewhere()
        lead.reader = asyncio.get_running_loop().create_task(self._read(lead), name="hub.cluster.socket")
        return lead

    def _turn_away(self) -> None:
        """Lead to this node no more, as soon as the replies have come that are under way."""
        lead, self._lead = self._lead, None
        if lead is None:
            return
        if not lead.awaits_replies:
            self._end(lead)
            return
        lead.left = True
        lead.timer = asyncio.get_running_loop().call_later(self._tuning.lapse_s, self._end, lead)
        self._leaving[lead.call.node] = lead
        if len(self._leaving) > MAX_LEAVING:
            self._end(next(iter(self._leaving.values())))

    def _turn_back(self, lead: _Lead) -> _Lead:
        """Lead to a node again whose replies are under way."""
        self._turn_away()
        if lead.timer is not None:
            lead.timer.cancel()
        del self._leaving[lead.call.node]
        lead.left = False
        self._lead = lead
        self._connection.lead_elsewhere()
        return lead

    def _end(self, lead: _Lead) -> None:
        """Take nothing more from a node."""
        if self._lead is lead:
            self._lead = None
        if self._leaving.get(lead.call.node) is lead:
            del self._leaving[lead.call.node]
        if lead.timer is not None:
            lead.timer.cancel()
        lead.unanswered.clear()
        lead.call.finish()
        lead.call.cancel()
        if lead.reader is not None and lead.reader is not asyncio.current_task():
            lead.reader.cancel()

    def _end_all(self) -> None:
        for lead in (self._lead, *list(self._leaving.values())):
            if lead is not None:
                self._end(lead)

    async def _read(self, lead: _Lead) -> None:
        call = lead.call
        try:
            while (piece := await call.receive()) is not None:
                message = decode_to_socket(piece)
                if isinstance(message, SocketText):
                    await self._write(lead, message.payload)
                    if lead.left and not lead.awaits_replies:
                        self._end(lead)
                        return
                elif isinstance(message, Admitted):
                    if self._client is not None:
                        self._client.admit(anonymous=message.anonymous, tenant=message.tenant)
                else:
                    await self._closed(lead, message)
                    return
        except msgspec.DecodeError as error:
            self._give_up(CallEndedError(f"{call.node} sent what cannot be read: {error}"))
        except TooSlowError:
            self._end_all()
            self._socket.close(CloseCode.TOO_SLOW, "messages are not read")
        except LinkError as error:
            await self._lost(lead, error)
        else:
            await self._closed(lead, Closed(CloseCode.NORMAL, ""))

    async def _write(self, lead: _Lead, payload: bytes) -> None:
        """Write a text message, as fast as the client reads."""
        if lead.unanswered and b'"successful":' in payload:
            for reply in _replies.decode(payload):
                if reply.successful is not None:
                    lead.unanswered.pop((reply.channel, bytes(reply.id) or None), None)
        self._socket.write(text_frame(payload))
        while self._socket.open and self._socket.buffered > self._max_unread:
            lead.room.clear()
            await lead.room.wait()

    async def _closed(self, lead: _Lead, message: Closed) -> None:
        """The owner has closed its end. It has read nothing of what was sent to it since, and is asked again."""
        node, left = lead.call.node, lead.left
        unanswered = list(lead.unanswered.values())
        self._end(lead)
        if left:
            return
        if message.code not in _KEPT_OPEN:
            self._end_all()
            self._socket.close(message.code, message.reason)
            return
        self._connection.lead_nowhere()
        if unanswered:
            payload = msgspec.json.encode([each.fields for each in unanswered])
            if not await self.take(node, payload, unanswered):
                self._connection.answer_lost(unanswered)

    async def _lost(self, lead: _Lead, error: LinkError) -> None:
        """The link broke. A node that has ended is known as soon as nothing listens at its address, or it lapses; until then the client
        waits. Then it gets 402 for what it asked, and may shake hands on this socket. Where the node lives, the socket is closed: the
        session is still there, and the client comes back to it by a new one.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._tuning.lapse_s
        while loop.time() < end:
            if lead.left:  # the client has turned to another session
                self._end(lead)
                return
            try:
                call = await self._links.open(lead.call.node, KIND, self._head or b"")
            except NodeGoneError:
                self._counters.failed_gone += 1
                unanswered = list(lead.unanswered.values())
                self._end(lead)
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
        self._end_all()
        self._socket.close(CloseCode.UNAVAILABLE, "the node that has this session does not answer now")
