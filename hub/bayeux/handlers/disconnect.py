"""``/meta/disconnect`` (Bayeux 1.0 section 4.3)."""

from __future__ import annotations

from hub.bayeux.endings import SessionEndings
from hub.bayeux.messages import Incoming
from hub.bayeux.replies import head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.session import ServerSession


class DisconnectHandler:
    """Ends the session of a client that says so."""

    __slots__ = ("_endings",)

    def __init__(self, endings: SessionEndings) -> None:
        self._endings = endings

    async def handle(self, message: Incoming, session: ServerSession, batch: ResponseBatch) -> bytes:
        """MUST contain channel, clientId; MAY contain ext, id. What still waits goes in front of the reply."""
        batch.messages.extend(self._endings.by_client(session))
        return success(head(message))
