"""One WebSocket that speaks Bayeux: messages in, frames out, and the session that it leads to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.messages import BatchTooLargeError, EmptyRequestError, Incoming, MalformedError, read_request
from hub.bayeux.ports import Connection, Peer, Remote
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.server import BayeuxServer, claimed_id, find_handshake
from hub.bayeux.session import ServerSession, WebSocketDelivery
from hub.core.errors import CREDENTIAL_ENDED, CREDENTIAL_UNVERIFIED, CloseCode
from hub.core.frames import DirectWrite, text_frame, text_frames
from hub.core.message import Message
from hub.core.principal import Principal
from hub.core.timers import Timer

UNREAD_QUEUES = 4
"""How many times ``max_queue_bytes`` a client may leave unread. At one of them no events are written any more; replies cannot wait, so a
client that goes on sending requests without reading the replies is cut off.
"""


class RemoteSessions(Protocol):
    """The sessions of other processes, as one WebSocket here leads to them."""

    async def take(self, incarnation: str, payload: bytes, messages: Sequence[Incoming]) -> bool:
        """Have another process answer the messages of one payload. False if that process has ended, and its sessions with it."""
        ...

    def leave(self) -> None:
        """The WebSocket leads to a session here now."""
        ...

    def drained(self) -> None:
        """The peer has read all that was written."""
        ...

    def gone(self) -> None:
        """The WebSocket is over."""
        ...


class WebSocketConnection:
    """One WebSocket of a client. The transport calls :meth:`receive` for each message, one at a time, :meth:`drained` when the peer has
    read what waited, and :meth:`gone` once at the end.

    It sends the messages of the session that it leads to: see :class:`hub.bayeux.session.WebSocketDelivery`.
    """

    __slots__ = ("_answering", "_connection", "_elsewhere", "_idle", "_server", "_spent", "direct_write", "peer", "remote", "session")

    def __init__(self, server: BayeuxServer, connection: Connection, peer: Peer) -> None:
        self._server = server
        self._connection = connection
        self.peer = peer
        self.session: ServerSession | None = None
        """The session that it leads to."""
        self.remote: RemoteSessions | None = None
        """Takes the messages of other processes' sessions; None where the hub is this process alone, and on a WebSocket of another one."""
        self.direct_write = connection.direct_write
        """Writes ready frames at once; see :class:`hub.bayeux.ports.Connection`."""
        connection.on_writable_changed(self.writable_changed)
        self._elsewhere = False
        """Whether it leads to a session of another process."""
        self._spent = False
        """Whether the credential of the opening handshake ended while it led there."""
        self._idle: Timer | None = None
        self._answering = False
        """Whether a message of the client is being answered."""
        peer.websocket = True
        server.registry.websockets[self] = None
        if peer.offered is not None:
            server.registry.offered.add(peer.offered)
        self._start_idle()

    # -- what the transport calls -----------------------------------------------------------------------------------

    async def receive(self, payload: bytes) -> None:
        """Take one WebSocket message. ``[]`` is ignored; what is no Bayeux request closes the connection
        (docs/protocol/dashboard.md#close-codes).
        """
        self._answering = True
        try:
            await self._take(payload)
        finally:
            self._answering = False

    async def _take(self, payload: bytes) -> None:
        try:
            messages = read_request(payload, self._server.hub.limits)
        except EmptyRequestError:
            return
        except MalformedError as error:
            self.refuse(CloseCode.BAD_MESSAGE, str(error))
            return
        except BatchTooLargeError as error:
            self.refuse(CloseCode.TOO_LARGE, str(error))
            return
        remote = self.remote
        if remote is not None and find_handshake(messages) is None:
            owner = self._server.owner(claimed_id(messages))
            if isinstance(owner, Remote):
                if not await remote.take(owner.incarnation, payload, messages):
                    await self._server.hub.arrivals.turn()  # the clients of a process that has ended come together
                    self.answer_lost(messages)
                return
        batch = await self._server.handle(messages, self.peer, self)
        if batch.held is None:
            self._answer(batch)
        else:
            batch.on_ready(self._answer_connect)

    def _answer_connect(self, batch: ResponseBatch) -> None:
        if not batch.superseded:  # else it gets no reply on a WebSocket (docs/protocol/bayeux.md#held-connects)
            self._answer(batch)

    def _answer(self, batch: ResponseBatch) -> None:
        parts = batch.parts()
        sent = self._send(parts)
        if sent == len(parts):
            batch.written()
        else:
            batch.lost(sent)

    def answer_lost(self, messages: Sequence[Incoming]) -> None:
        """Answer messages of a session whose process has ended."""
        self._answer(self._server.answer_lost(messages, self.peer, self))

    def refuse(self, code: CloseCode, reason: str) -> None:
        """Close for something that is no Bayeux request, not even a bad one."""
        self._server.counters.bad_requests += 1
        self._connection.close(code, reason)

    def writable_changed(self, direct_write: DirectWrite | None) -> None:
        """The connection has begun to take frames directly, or does so no more."""
        self.direct_write = direct_write
        session = self.session
        if session is not None and session.sends_directly:
            session.direct_write = direct_write

    def drained(self) -> None:
        """The peer has read all that was written: go on with the queued messages."""
        if self.session is not None:
            self.session.wake()
        if self.remote is not None:
            self.remote.drained()

    def gone(self) -> None:
        """The WebSocket is over, whoever ended it."""
        registry = self._server.registry
        registry.websockets.pop(self, None)
        if self.peer.offered is not None:
            registry.offered.discard(self.peer.offered)
        self._stop_idle()
        session, self.session = self.session, None
        if session is not None:
            self._leave(session)
        if self.remote is not None:
            self.remote.gone()

    # -- towards the client: see hub.bayeux.session.WebSocketDelivery -----------------------------------------------

    @property
    def open(self) -> bool:
        """Whether a message can be sent."""
        return self._connection.open

    @property
    def unread_bytes(self) -> int:
        """Bytes that were written and that the client has not read."""
        return self._connection.buffered

    @property
    def writable(self) -> bool:
        """Whether events may be written now. While the peer has more than ``max_queue_bytes`` unread they stay queued."""
        return self._connection.open and self._connection.buffered <= self._server.hub.limits.max_queue_bytes

    def flush(self, session: ServerSession) -> None:
        """Send the queued messages of the session, if they may be written now."""
        if not self.writable or session.in_flight:
            return
        taken = session.take()
        if taken:
            sent = self._send(session.encode(taken))
            session.requeue(islice(taken, sent, None))

    def answers_at_once(self, session: ServerSession) -> bool:
        """Never: a connect carries no messages here."""
        return False

    def rides_on_response(self, session: ServerSession, peer: Peer, websocket: WebSocketDelivery | None, *, connect: bool) -> bool:
        """Whether the replies to a request carry the queued messages: if it came by this WebSocket."""
        return websocket is self and self.writable and not session.in_flight

    def reaches_client(self, session: ServerSession) -> bool:
        """Always."""
        return True

    def take_for_reply(self, session: ServerSession) -> list[Message]:
        """Nothing: a connect carries no messages here."""
        return []

    def put_back(self, session: ServerSession) -> None:
        """Do nothing: a WebSocket that did not take messages will be gone soon, and to try again at once would not end."""

    def send_last(self, session: ServerSession, held: HeldConnect[ServerSession] | None, closing: Message | None) -> None:
        """Send the queued messages, then the last message of a session."""
        self.flush(session)
        if closing is not None:
            self._send([closing.bayeux()])

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake behind what was written."""
        self._connection.close(code, reason)

    def revoke(self, gone: Callable[[Principal], bool]) -> None:
        """Close when the credential of the opening handshake is gone: it must not open another session. While the WebSocket leads to a
        session of another process, that one says whether it closes, for there a newer credential may have been shown.
        """
        if self.peer.principal is None or not gone(self.peer.principal):
            return
        if self._elsewhere:
            self._spent = True
            self.peer.principal = None  # it opens nothing here any more
        else:
            self._connection.close(CloseCode.NOT_AUTHENTICATED, CREDENTIAL_ENDED)

    def give_up(self, unverified: Callable[[Principal], bool]) -> None:
        """Close when nobody knows any more whether the credential of the opening handshake is good."""
        if self.peer.principal is not None and unverified(self.peer.principal):
            self._connection.close(CloseCode.UNAVAILABLE, CREDENTIAL_UNVERIFIED)

    def _send(self, parts: Sequence[bytes]) -> int:
        """Send encoded messages, many to a frame; returns how many of them the connection took before it was over."""
        if len(parts) == 1 and self.direct_write is not None:  # nearly always
            try:
                self.direct_write(text_frame(b"[%b]" % parts[0]))
            except (RuntimeError, OSError):  # the connection is gone: writing will say so, too
                pass
            else:
                return 1
        limits = self._server.hub.limits
        sent = 0
        for frame, count in text_frames(parts, limits.max_frame_bytes):
            if not self._connection.write(frame):
                break
            sent += count
        if self._connection.open and self._connection.buffered > UNREAD_QUEUES * limits.max_queue_bytes:
            self._server.counters.unread_replies += 1
            self._connection.close(CloseCode.TOO_SLOW, "replies are not read")
        return sent

    # -- its session ------------------------------------------------------------------------------------------------

    def bind(self, session: ServerSession) -> None:
        """From now on this WebSocket leads to ``session`` (docs/protocol/bayeux.md#websocket: from its first message of any kind on)."""
        if self.session is session or not self._connection.open:
            return
        self._elsewhere = False
        if self.session is not None:
            self._leave(self.session)
        if self.remote is not None:
            self.remote.leave()
        self.session = session
        self._stop_idle()
        before = session.websocket
        if before is not None:
            before.lose_session(session)
            if session.held is not None and session.held.websocket is before:
                session.supersede_connect()
                session.start_clock()
        session.reach_by(self)
        session.wake()

    def _leave(self, session: ServerSession) -> None:
        """It is closed, or leads to another session now: the ``maxInterval`` clock starts at once (docs/protocol/bayeux.md#expiry)."""
        if session.websocket is not self:
            return
        held = session.held
        if held is not None and held.websocket is self and self._connection.open:
            self._server.connects.answer(session)  # the client is there still, and every request gets its reply
        if session.ended:
            return
        session.reach_by(None)
        if session.held is not None and session.held.websocket is None:  # long-polling holds a connect meanwhile
            session.wake()
            return
        held = session.release_connect()
        if held is not None:
            held.abandon()
        session.expire_in(session.hub.limits.max_interval_ms)

    def lose_session(self, session: ServerSession) -> None:
        """The session has ended, or is reached in another way now."""
        if self.session is session:
            self.session = None
            self._start_idle()

    def lead_elsewhere(self) -> None:
        """From now on it leads to a session of another process."""
        self._elsewhere = True
        session, self.session = self.session, None
        if session is not None:
            self._leave(session)
        self._stop_idle()

    def lead_nowhere(self) -> None:
        """The session of another process that it led to has ended, or is reached in another way now."""
        self._elsewhere = False
        if self._spent:
            self._connection.close(CloseCode.NOT_AUTHENTICATED, CREDENTIAL_ENDED)
            return
        if self.session is None and self._connection.open:
            self._start_idle()

    # -- without a session ------------------------------------------------------------------------------------------

    def _start_idle(self) -> None:
        if self._idle is None:
            self._idle = self._server.hub.timers.after(self._server.hub.limits.hello_timeout_s, self._idle_too_long)

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._server.hub.timers.cancel(self._idle)
            self._idle = None

    def _idle_too_long(self) -> None:
        self._idle = None
        if self._answering:  # a handshake waits for its turn behind thousands of others: its client is not idle
            self._start_idle()
        else:
            self._connection.close(CloseCode.NORMAL, "no session")
