"""One WebSocket that speaks Bayeux: frames in, frames out, and the session that it leads to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.messages import BatchTooLargeError, EmptyRequestError, MalformedError, read_request
from hub.bayeux.ports import Connection, Peer
from hub.bayeux.session import ServerSession
from hub.core.errors import CloseCode
from hub.core.frames import array, arrays, text_frame
from hub.core.principal import Principal
from hub.core.timers import Timer

if TYPE_CHECKING:
    from hub.bayeux.server import BayeuxServer

UNREAD_QUEUES = 4
"""Events stop at one queueful of unread bytes; replies cannot wait, so whoever sends requests and reads none of the replies is cut off at
this many.
"""


class SocketLink:
    """The conversation of one WebSocket. The transport calls :meth:`receive` for each message, one at a time, :meth:`writable_changed` and
    :meth:`drained` as the peer reads or does not, and :meth:`gone` once at the end.
    """

    __slots__ = ("_idle", "_server", "connection", "peer", "session")

    def __init__(self, server: BayeuxServer, connection: Connection, peer: Peer) -> None:
        self._server = server
        self.connection = connection
        self.peer = peer
        self.session: ServerSession | None = None
        self._idle: Timer | None = None
        peer.link = self
        server.links[self] = None
        if peer.offered is not None:
            server.offered.add(peer.offered)
        self._start_idle()

    # -- what the transport calls -----------------------------------------------------------------------------------

    async def receive(self, payload: bytes) -> None:
        """Take one WebSocket message. ``[]`` is ignored; what is no Bayeux request closes the connection
        (docs/protocol/dashboard.md#close-codes).
        """
        try:
            messages = read_request(payload, self._server.hub.limits)
        except EmptyRequestError:
            return
        except MalformedError as fault:
            self.refuse(CloseCode.BAD_MESSAGE, str(fault))
            return
        except BatchTooLargeError as fault:
            self.refuse(CloseCode.TOO_LARGE, str(fault))
            return
        exchange = await self._server.handle(messages, self.peer)
        parts = exchange.parts()
        sent = self.send(parts)
        if sent == len(parts):
            exchange.written()
        else:
            exchange.lost(sent)
        if exchange.held is not None:
            exchange.held.on_done(self._answer_connect)

    def refuse(self, code: CloseCode, reason: str) -> None:
        """Close for something that is no Bayeux request, not even a bad one."""
        self._server.counters.bad_requests += 1
        self.connection.close(code, reason)

    def drained(self) -> None:
        """The peer has read all that was written: go on with what waits."""
        if self.session is not None:
            self.session.wake()

    def writable_changed(self) -> None:
        """The connection has begun to take frames directly, or does so no more."""
        if self.session is not None:
            self.session.update_direct_write()

    def gone(self) -> None:
        """The WebSocket is over, whoever ended it."""
        self._server.links.pop(self, None)
        if self.peer.offered is not None:
            self._server.offered.discard(self.peer.offered)
        self._stop_idle()
        session, self.session = self.session, None
        if session is not None:
            session.unbind(self)

    # -- towards the client -----------------------------------------------------------------------------------------

    def push(self, session: ServerSession) -> None:
        """Send what waits for the session, unless the peer has more than a queueful unread: then the queue's own limit decides."""
        if not self.writable:
            return
        taken = session.take()
        if taken:
            sent = self.send(session.encode(taken))
            session.requeue(islice(taken, sent, None))

    @property
    def writable(self) -> bool:
        """Whether events may be written now."""
        return self.connection.open and self.connection.buffered <= self._server.hub.limits.max_queue_bytes

    def send(self, parts: Sequence[bytes]) -> int:
        """Send encoded messages, many to a frame; returns how many of them the connection took before it was over."""
        if (
            len(parts) == 1 and (direct_write := self.connection.direct_write) is not None
        ):  # nearly always: one reply, and nothing is unread
            with suppress(RuntimeError, OSError):  # the connection is gone: writing will say so, too
                direct_write(text_frame(array(parts)))
                return 1
        limits = self._server.hub.limits
        sent = 0
        for frame, count in arrays(parts, limits.max_frame_bytes):
            if not self.connection.write(frame):
                break
            sent += count
        if self.connection.open and self.connection.buffered > UNREAD_QUEUES * limits.max_queue_bytes:
            self._server.counters.unread_replies += 1
            self.connection.close(CloseCode.TOO_SLOW, "replies are not read")
        return sent

    def _answer_connect(self, held: HeldConnect) -> None:
        # a connect that a newer one took the place of gets no reply on a WebSocket (docs/protocol/bayeux.md#held-connects)
        if held.reply is None:
            return
        parts = held.parts()
        if self.send(parts) == len(parts):
            held.written()
        else:
            held.lost()

    # -- its session ------------------------------------------------------------------------------------------------

    def bind(self, session: ServerSession) -> None:
        """This WebSocket now leads to ``session``."""
        if self.session is session or not self.connection.open:
            return
        if self.session is not None:
            self.session.unbind(self)
        self.session = session
        self._stop_idle()
        session.bind(self)

    def lose_session(self, session: ServerSession) -> None:
        """The session has ended, or is reached in another way now."""
        if self.session is session:
            self.session = None
            self._start_idle()

    def revoke(self, gone: Callable[[Principal], bool]) -> None:
        """Close when the credential of the opening handshake is gone: it must not open another session."""
        if self.peer.principal is not None and gone(self.peer.principal):
            self.connection.close(CloseCode.NOT_AUTHENTICATED, "the credential was removed or changed")

    def _start_idle(self) -> None:
        if self._idle is None:
            self._idle = self._server.hub.timers.after(self._server.hub.limits.hello_timeout_s, self._idle_too_long)

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._server.hub.timers.cancel(self._idle)
            self._idle = None

    def _idle_too_long(self) -> None:
        self._idle = None
        self.connection.close(CloseCode.NORMAL, "no session")
