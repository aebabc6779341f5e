"""Publishes the states of messages on the hub, and moves messages to the state that the outcome of their webhook calls for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import orjson

from channels.messaging import store_channels, store_messages
from channels.messaging.counters import Counters
from channels.messaging.message_status import OUTGOING, STATE, StatusWriter
from channels.messaging.schemas import MAX_ID_LENGTH
from channels.messaging.service_inbound import whom
from channels.messaging.state_machine import Transition
from hub.core.channels import to_segment
from hub.core.hub import Hub
from hub.outbox.models import DeliveryState, OutboxEvent, Settled
from hub.storage.transactions import Transaction


class MessagePublisher:
    """The :class:`hub.outbox.models.Consumer` of the family."""

    types: Collection[str] = (STATE, OUTGOING)

    __slots__ = ("_counters", "_hub", "_status")

    def __init__(self, hub: Hub, status: StatusWriter, counters: Counters) -> None:
        self._hub = hub
        self._status = status
        self._counters = counters

    async def consume(self, event: OutboxEvent) -> None:
        """Publish the state of a message on the hub. See :class:`hub.outbox.models.Consumer`."""
        if event.type == STATE:
            channel: str = orjson.loads(event.body)["channelId"]
            await self._hub.publisher.emit(event.tenant, messages_channel(channel), event.body, idempotency_key=event.operation_id)

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """The third party took a message, or the last attempt failed. See :class:`hub.outbox.models.Consumer`."""
        found = store_messages.by_event(transaction, delivery.event.id)
        if found is None or not store_channels.lock(transaction, found.channel):
            return  # the message was deleted for its age, or its channel was removed
        channel = store_channels.by_number(transaction, found.channel)
        message = store_messages.by_event(transaction, delivery.event.id)
        if channel is None or message is None:
            return
        if delivery.state is not DeliveryState.DELIVERED:
            if self._status.move(transaction, channel, message, Transition.UNDELIVERED, error=delivery.error):
                transaction.after_commit(self._count_failed)
            return
        named = _answered_id(delivery.body)
        if named is not None and named != message.message_id and named != message.receiver_id:
            message.receiver_id = named
            store_messages.update(transaction, message)
        if self._status.move(transaction, channel, message, Transition.SENT):
            transaction.after_commit(self._count_sent)
        for receipt in store_messages.take_receipts(transaction, channel.number, named) if named is not None else ():
            to = whom(message, receipt.recipients)
            self._status.move(transaction, channel, message, Transition(receipt.status), to=to, reasons=receipt.reasons)

    def _count_sent(self) -> None:
        self._counters.sent += 1

    def _count_failed(self) -> None:
        self._counters.failed += 1


def messages_channel(channel: str) -> str:
    """The channel of the hub on which the states of a messaging channel's messages are published (docs/protocol/messaging.md#states)."""
    return f"/nexus/v3/channels/{to_segment(channel)}/messages"


_ANSWER_KEY: Final = "messageId"


def _answered_id(body: bytes) -> str | None:
    """The third party's own id of a message, if its answer to the webhook has one that can be used."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # an answer need not be JSON
    named = answer.get(_ANSWER_KEY) if isinstance(answer, dict) else None
    if isinstance(named, int) and not isinstance(named, bool):
        named = str(named)
    return named if isinstance(named, str) and 1 <= len(named) <= MAX_ID_LENGTH and named.isprintable() and named == named.strip() else None
