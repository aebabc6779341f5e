"""Tells the hub of chats: items on the channel of the transcript, which also forgets who was erased; to stat server and interactions
that a chat began or ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import orjson

from channels.events import ACCEPTED, DUPLICATE, Event, EventSink, InteractionFinished, InteractionStarted
from channels.files.participants.journal import ERASED, FINISHED, ITEM, STARTED
from channels.files.participants.models import MEDIUM
from channels.files.participants.serializers import is_of, transcript_channel
from hub.core.hub import Hub
from hub.core.message import Topic
from hub.outbox.models import OutboxEvent, Settled
from hub.storage.transactions import Transaction

SOURCE: Final = "hub:chats"
"""``source`` of the events of chats."""


class NotTakenError(Exception):
    """The event of a chat was refused. The outbox hands it over again later."""


class ChatPublisher:
    """A :class:`hub.outbox.models.Consumer`."""

    types: Collection[str] = (ITEM, ERASED, STARTED, FINISHED)

    __slots__ = ("_find_sink", "_hub")

    def __init__(self, hub: Hub, find_sink: Callable[[], EventSink | None]) -> None:
        """``find_sink`` is called when there is an event to hand over, since not all families are built before."""
        self._hub = hub
        self._find_sink = find_sink

    async def consume(self, event: OutboxEvent) -> None:
        """See :class:`hub.outbox.models.Consumer`. Channel and stat server recognise a repeat by the event's id.

        Raises:
            EventLogError: the log of the channel cannot be read or written.
            EventSinkError: the event log cannot be written.
            NotTakenError: the event was refused.
        """
        if event.type == ITEM:
            await self._hub.publisher.emit(event.tenant, transcript_channel(event.key), event.body, idempotency_key=f"outbox-{event.id}")
            return
        if event.type == ERASED:
            participant: str = orjson.loads(event.body)["participantId"]
            topic = Topic(event.tenant, "", transcript_channel(event.key))
            await self._hub.log.erase(topic, lambda data: is_of(data, participant))
            return
        sink = self._find_sink()
        if sink is None:
            return
        # past: it is taken however long the stat server was away
        (outcome,) = await sink.accept(event.tenant, [_interaction_event(event)], past=True)
        if outcome not in (ACCEPTED, DUPLICATE):
            raise NotTakenError(outcome)

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Do nothing: these events go to no webhook. Those of the interaction that a chat is do."""


def _interaction_event(event: OutboxEvent) -> Event:
    said: dict[str, Any] = orjson.loads(event.body)
    if event.type == STARTED:
        started = InteractionStarted(interaction_id=said["interactionId"], media=MEDIUM, user_data=said["userData"] or None)
        return Event("cx.interaction.started", event.at_ms, SOURCE, str(event.id), started)
    finished = InteractionFinished(interaction_id=said["interactionId"], media=MEDIUM, reason=said["reason"])
    return Event("cx.interaction.finished", event.at_ms, SOURCE, str(event.id), finished)
