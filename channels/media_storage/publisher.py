"""Publishes finished uploads on ``/hub/operations``; endpoints that ask for ``media.uploaded`` get the same body as a webhook."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from channels.media_storage.models import UPLOADED, MediaObject
from channels.media_storage.serializers import event_body
from hub.core.hub import Hub
from hub.core.ports import Clock
from hub.objects.instances import instance_id
from hub.outbox.models import OutboxEvent, Settled
from hub.storage.transactions import Transaction

CHANNEL: Final = "/hub/operations"
"""Operational events for administrators; the outbox declares it."""

_NOTHING_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"
_NOTHING_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class MediaPublisher:
    """The :class:`hub.outbox.models.Consumer` of the family, and its :class:`hub.outbox.example.Example`."""

    types: Collection[str] = (UPLOADED,)
    example_types: tuple[str, ...] = (UPLOADED,)

    __slots__ = ("_clock", "_hub")

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock

    async def consume(self, event: OutboxEvent) -> None:
        """See :class:`hub.outbox.models.Consumer`. The channel recognises a repeat by the event's id."""
        await self._hub.publisher.emit(event.tenant, CHANNEL, event.body, idempotency_key=f"outbox-{event.id}")

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Do nothing: the outcome of a webhook does not change the file. The log of deliveries has it."""

    def example(self, event_type: str) -> bytes:
        """See :class:`hub.outbox.example.Example`."""
        made = MediaObject("imports/example.txt", "", 0, _NOTHING_MD5, _NOTHING_SHA256, self._clock.wall_ms())
        return event_body(instance_id("example"), made)
