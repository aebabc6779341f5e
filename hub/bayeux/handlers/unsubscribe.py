"""``/meta/unsubscribe`` (Bayeux 1.0 section 4.5)."""

from __future__ import annotations

from hub.bayeux.handlers.patterns import read_patterns
from hub.bayeux.messages import Incoming
from hub.bayeux.refusals import subscription_member
from hub.bayeux.replies import head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.session import ServerSession
from hub.core.hub import Hub


class UnsubscribeHandler:
    """Ends subscriptions."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def handle(self, message: Incoming, session: ServerSession, batch: ResponseBatch) -> bytes:
        """MUST contain channel, clientId, subscription; MAY contain ext, id. A channel that is not subscribed to is no error.

        Raises:
            RefusedError, FieldError: as :func:`read_patterns`.
        """
        self._hub.subscriptions.unsubscribe(session, read_patterns(message))
        return success(head(message), subscription_member(message))
