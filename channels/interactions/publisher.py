"""Tells the channels of the hub and the stat server that an interaction started or finished."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import orjson

from channels.events import ACCEPTED, DUPLICATE, Event, EventSink, InteractionFinished, InteractionStarted
from channels.interactions.event_consumer import SOURCE
from channels.interactions.serializers import FINISHED, STARTED
from channels.interactions.service import BY_REST
from hub.core.channels import to_segment
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.hub import Hub
from hub.outbox.models import OutboxEvent, Settled
from hub.storage.transactions import Transaction

CHANNEL: Final = "/nexus/v3/interactions"
"""Every interaction of the tenant; ``{id}`` below it: one."""

EVENTS: Final = "/interactions/events"
"""The operation that hearing of interactions needs: their events carry no user data, which reading them by REST does."""

CHANNELS: Final = (
    ChannelDeclaration(CHANNEL, DeliveryClass.LOG, "interactions that start and finish", operation=EVENTS),
    ChannelDeclaration(f"{CHANNEL}/*", DeliveryClass.LOG, "one interaction that starts and finishes", operation=EVENTS),
)


class NotTakenError(Exception):
    """The stat server's event was refused: it is sent again later."""


class InteractionPublisher:
    """The :class:`hub.outbox.models.Consumer` of the family, and its examples."""

    types: Collection[str] = (STARTED, FINISHED)
    example_types: tuple[str, ...] = (STARTED, FINISHED)

    __slots__ = ("_example", "_find_sink", "_hub")

    def __init__(self, hub: Hub, find_sink: Callable[[], EventSink | None], example: Callable[[str], bytes]) -> None:
        """``find_sink`` is called when there is an event to hand over: all families are built by then."""
        self._hub = hub
        self._find_sink = find_sink
        self._example = example

    def example(self, event_type: str) -> bytes:
        """See :class:`hub.outbox.example.Example`."""
        return self._example(event_type)

    async def consume(self, event: OutboxEvent) -> None:
        """See :class:`hub.outbox.models.Consumer`. Each part knows a repeat by the event's id.

        Raises:
            NotTakenError: the stat server's event was refused.
        """
        (entity,) = orjson.loads(event.body)["data"]["entities"]
        data = orjson.dumps(entity)
        idempotency_key = f"outbox-{event.id}"
        one = f"{CHANNEL}/{to_segment(event.key)}"
        parts = [self._hub.emit(event.tenant, channel, data, idempotency_key=idempotency_key) for channel in (CHANNEL, one)]
        if event.origin == BY_REST:
            parts.append(self._to_stat_server(event, entity["entity"]))
        # side by side: each waits for a disk
        faults = [each for each in await asyncio.gather(*parts, return_exceptions=True) if isinstance(each, BaseException)]
        if faults:
            raise faults[0]

    async def _to_stat_server(self, event: OutboxEvent, entity: dict[str, str]) -> None:
        sink = self._find_sink()
        if sink is None:
            return
        shape = InteractionStarted if event.type == STARTED else InteractionFinished
        data = shape(interaction_id=entity["id"], media=entity["mediaType"], subtype=entity.get("interactionSubtype"))
        told = Event(_TYPES[event.type], event.at_ms, SOURCE, str(event.id), data)
        (outcome,) = await sink.accept(event.tenant, [told], past=True)  # however long the stat server was away
        if outcome not in (ACCEPTED, DUPLICATE):
            raise NotTakenError(outcome)

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Do nothing: the outcome of a webhook does not change its interaction; the log of deliveries has it."""


_TYPES: Final = {STARTED: "cx.interaction.started", FINISHED: "cx.interaction.finished"}
