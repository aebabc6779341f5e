"""Publishing, on any channel that is not one of ``/meta/`` (Bayeux 1.0 section 5.1)."""

from __future__ import annotations

from hub.bayeux.counters import BayeuxCounters
from hub.bayeux.messages import Incoming, checked_numbers
from hub.bayeux.replies import head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.services import Services
from hub.bayeux.session import ServerSession
from hub.core.channels import META, SERVICE
from hub.core.errors import RefusedError, WireError
from hub.core.field_error import FieldError
from hub.core.hub import Hub


class PublishHandler:
    """Publishes what clients send, and hands over to services what they send there."""

    __slots__ = ("_counters", "_hub", "_services")

    def __init__(self, hub: Hub, services: Services, counters: BayeuxCounters) -> None:
        self._hub = hub
        self._services = services
        self._counters = counters

    async def handle(self, message: Incoming, session: ServerSession, batch: ResponseBatch) -> bytes:
        """MUST contain channel, clientId, data; MAY contain ext, id. The reply never has ``data``: clients tell replies from events by that
        (docs/protocol/bayeux.md#publish).

        Raises:
            RefusedError: PUBLISH_DENIED, DATA_MISSING; and what :meth:`hub.core.publisher.Publisher.publish` and
                :meth:`Services.handle` raise.
            FieldError: a number in the message is one that readers of JSON may refuse, or ``ext`` is no object.
        """
        channel = message.channel
        try:
            if channel.startswith(META):
                raise RefusedError(WireError.PUBLISH_DENIED, channel=channel)
            data = message.fields.get("data")  # null is data like any other
            if data is None:
                raise RefusedError(WireError.DATA_MISSING, channel=channel)
            text, extra = bytes(data), message.extra()
            checked_numbers(text, extra)
            await session.request_order.run(self._hub.publisher.publish(session.principal, channel, text, extra=extra))
            if channel.startswith(SERVICE):
                await self._services.handle(session, channel, text, message.identifier)
        except (FieldError, RefusedError):
            self._counters.publishes_refused += 1
            raise
        return success(head(message))
