"""Publishes on the channels of the hub that an interaction started or finished, and hands that to the stat server as an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from channels.events import ACCEPTED, DUPLICATE, Event, EventSink, InteractionFinished, InteractionStarted
from channels.interactions.event_consumer import SOURCE
from channels.interactions.serializers import FINISHED, STARTED, entity_of, subtype_of
from channels.interactions.service import BY_REST
from hub.core.channels import to_segment
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.hub import Hub
from hub.outbox.models import OutboxEvent, Settled
from hub.storage.transactions import Transaction

CHANNEL: Final = "/nexus/v3/interactions"
"""Every interaction of the tenant; ``{id}`` below it: one."""

EVENTS: Final = "/interactions/events"
"""The operation that a subscriber to these channels needs. Their events carry no user data; reading an interaction by REST yields it."""

CHANNELS: Final = (
    ChannelDeclaration(CHANNEL, DeliveryClass.LOG, "interactions that start and finish", operation=EVENTS),
    ChannelDeclaration(f"{CHANNEL}/*", DeliveryClass.LOG, "one interaction that starts and finishes", operation=EVENTS),
)


class NotTakenError(Exception):
    """The stat server refused an event. The outbox hands it over again later."""


class InteractionPublisher:
    """The :class:`hub.outbox.models.Consumer` of the family, and its :class:`hub.outbox.example.Example`."""

    types: Collection[str] = (STARTED, FINISHED)
    example_types: tuple[str, ...] = (STARTED, FINISHED)

    __slots__ = ("_example", "_find_sink", "_hub")

    def __init__(self, hub: Hub, find_sink: Callable[[], EventSink | None], example: Callable[[str], bytes]) -> None:
        """``find_sink`` is called when there is an event to hand over, since not all families are built before. ``example`` makes the
        body of an example of an event type.
        """
        self._hub = hub
        self._find_sink = find_sink
        self._example = example

    def example(self, event_type: str) -> bytes:
        """See :class:`hub.outbox.example.Example`."""
        return self._example(event_type)

    async def consume(self, event: OutboxEvent) -> None:
        """See :class:`hub.outbox.models.Consumer`. Channels and stat server recognise a repeat by the event's id.

        Raises:
            NotTakenError: the stat server refused the event.
        """
        entity = entity_of(event.body)
        idempotency_key = f"outbox-{event.id}"
        one = f"{CHANNEL}/{to_segment(event.key)}"
        parts = [self._hub.publisher.emit(event.tenant, channel, entity, idempotency_key=idempotency_key) for channel in (CHANNEL, one)]
        if event.origin == BY_REST:
            parts.append(self._to_stat_server(event, entity))
        # side by side: each waits for a disk
        errors = [each for each in await asyncio.gather(*parts, return_exceptions=True) if isinstance(each, BaseException)]
        if errors:
            raise errors[0]

    async def _to_stat_server(self, event: OutboxEvent, entity: bytes) -> None:
        sink = self._find_sink()
        if sink is None:
            return
        name, data_type = _EVENT_TYPES[event.type]
        data = data_type(interaction_id=event.key, media=event.media, subtype=subtype_of(entity))
        # past: the stat server takes the event however long it was away
        (outcome,) = await sink.accept(event.tenant, [Event(name, event.at_ms, SOURCE, str(event.id), data)], past=True)
        if outcome not in (ACCEPTED, DUPLICATE):
            raise NotTakenError(outcome)

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Do nothing: the outcome of a webhook does not change its interaction. The log of deliveries has the outcome."""


_EVENT_TYPES: Final[dict[str, tuple[str, type[InteractionStarted | InteractionFinished]]]] = {
    STARTED: ("cx.interaction.started", InteractionStarted),
    FINISHED: ("cx.interaction.finished", InteractionFinished),
}
