"""The answer to one HTTP request, or to one WebSocket message."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.ports import Peer
from hub.bayeux.session import ServerSession, WebSocketDelivery
from hub.core.message import Message


class ResponseBatch:
    """All that goes back for one request. The transport waits by :meth:`on_ready`, writes :meth:`parts` unless the batch is
    :attr:`superseded`, then calls :meth:`written` or :meth:`lost`. That call may come much later, if the response travels through another
    process. If the client goes before the batch is ready, the transport calls :meth:`abandon` instead.
    """

    __slots__ = ("alone", "connect_seq", "first", "held", "in_flight", "messages", "opened", "peer", "replies", "session", "websocket")

    def __init__(self, peer: Peer, websocket: WebSocketDelivery | None, *, alone: bool) -> None:
        self.peer = peer
        """Who sent the request."""
        self.websocket = websocket
        """The WebSocket by which it came; None for HTTP."""
        self.alone = alone
        """Whether there is but one message in the request."""
        self.session: ServerSession | None = None
        """The session that the request is of; None while that is not known, and for a handshake."""
        self.first: bytes | None = None
        """The handshake reply, which comes before everything else."""
        self.opened: ServerSession | None = None
        """The session that a handshake opened: HTTP sets its cookies then."""
        self.messages: list[Message] = []
        self.replies: list[bytes] = []
        self.held: HeldConnect[ServerSession] | None = None
        """The connect that is held, if there is one; then there is nothing else in the request."""
        self.connect_seq: int | None = None
        """The number of the connect that is answered here."""
        self.in_flight = False
        """Whether it carries messages that may be queued again: see :attr:`hub.bayeux.session.ServerSession.in_flight`."""

    @property
    def superseded(self) -> bool:
        """Whether a newer connect has taken the place of the held one: then there is no reply."""
        return self.held is not None and self.held.superseded

    def on_ready(self, waiter: Callable[[ResponseBatch], object]) -> None:
        """Call ``waiter`` once when the response can be written: at once, unless its connect is held."""
        if self.held is None:
            waiter(self)
        else:
            self.held.on_done(waiter, self)

    def parts(self) -> list[bytes]:
        """The encoded messages in order: handshake reply, events, other replies, so that a connect reply follows its events
        (docs/protocol/bayeux.md#order-in-a-response).
        """
        if self.first is None and not self.messages:  # nearly always
            return self.replies
        parts = [] if self.first is None else [self.first]
        if self.session is not None and self.messages:
            parts.extend(self.session.encode(self.messages))
        parts.extend(self.replies)
        return parts

    def written(self) -> None:
        """The response is on its way."""
        if self.connect_seq is not None and self.session is not None:
            self.session.connect_answered(self.connect_seq)
        self._land()

    def lost(self, sent: int = 0) -> None:
        """Only the first ``sent`` parts of the response reached the client: queue the other events again."""
        if self.session is not None:
            events = sent if self.first is None else max(0, sent - 1)
            self.session.requeue(islice(self.messages, events, None))
        self.written()

    def abandon(self) -> None:
        """The client has gone while its connect is held."""
        if self.held is not None and self.session is not None:
            self.session.abandon_connect(self.held)

    def _land(self) -> None:
        """It is known what became of the messages."""
        held = self.held
        if self.session is not None and (self.in_flight or (held is not None and held.in_flight)):
            self.in_flight = False
            if held is not None:
                held.in_flight = False
            self.session.landed()
