"""The answer to one request, or to one WebSocket message."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hub.core.frames import array
from hub.core.message import Message

if TYPE_CHECKING:
    from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.session import ServerSession


class Exchange:
    """The transport writes :meth:`parts`, or awaits ``held``, then calls :meth:`written` or :meth:`lost`."""

    __slots__ = ("cycle", "first", "held", "messages", "opened", "replies", "session")

    def __init__(self) -> None:
        self.session: ServerSession | None = None
        self.first: bytes | None = None
        """The handshake reply, which comes before everything else."""
        self.opened: ServerSession | None = None
        """The session that a handshake opened: HTTP sets its cookies then."""
        self.messages: list[Message] = []
        self.replies: list[bytes] = []
        self.held: HeldConnect | None = None
        """The held connect, if there is one; then there is nothing else in this exchange."""
        self.cycle: int | None = None
        """The number of the connect that is answered here."""

    def parts(self) -> list[bytes]:
        """The encoded messages in order: handshake reply, events, other replies, so that a connect reply follows its events
        (docs/protocol/bayeux.md#order-in-a-response).
        """
        parts = [] if self.first is None else [self.first]
        if self.session is not None and self.messages:
            parts.extend(self.session.encode(self.messages))
        parts.extend(self.replies)
        return parts

    def body(self) -> bytes:
        """All parts as one JSON array."""
        return array(self.parts())

    def written(self) -> None:
        """The response is on its way."""
        if self.session is not None and self.cycle is not None:
            self.session.connect_answered(self.cycle)

    def lost(self, sent: int = 0) -> None:
        """Only the first ``sent`` parts of the response reached the client: queue the other events again."""
        if self.session is not None:
            events = sent if self.first is None else max(0, sent - 1)
            self.session.requeue(islice(self.messages, events, None))
        self.written()
