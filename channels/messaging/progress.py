"""Changes the states of messages. Each change is written in one transaction with an outbox event that publishes it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Final

import orjson

from channels.messaging import message_store
from channels.messaging.channel_store import Channel
from channels.messaging.message_store import Direction, Message
from channels.messaging.states import UNDELIVERED, Happening, after, of_all
from hub.core.ports import Clock
from hub.ops.envelope import ascii_json
from hub.outbox.models import NO_ENDPOINT, Recorder
from hub.storage.transactions import Transaction

STATE: Final = "message.state"
"""Type of the event that publishes a new message or a changed state; it stays inside the hub."""

OUTGOING: Final = "message.outgoing"
"""Type of the event that goes to the channel's webhook."""

_LONGEST_KEY: Final = 255


def conversation(channel: Channel, consumers: Sequence[str]) -> str:
    """The outbox key of all messages with one consumer, whose order is kept."""
    key = f"messaging/{channel.number}/{' '.join(sorted(consumers))}"
    return key if len(key) <= _LONGEST_KEY else f"messaging/{channel.number}/{hashlib.sha256(key.encode()).hexdigest()}"


def describe(channel: str, message: Message, *, content: bool) -> dict[str, Any]:
    """A message as events and REST show it; with ``content`` also its text, as its sender wrote it."""
    shown: dict[str, Any] = {
        "id": str(message.id),
        "channelId": channel,
        "direction": message.direction.value,
        "type": message.type,
        "state": message.state.value,
        "from": message.sender,
        "recipients": [
            {
                "id": each.id,
                **({"name": each.name} if each.name is not None else {}),
                "state": each.standing.state.value,
                **({"reasons": each.reasons} if each.reasons else {}),
            }
            for each in message.recipients
        ],
        "createdAt": message.created_ms,
        "changedAt": message.changed_ms,
    }
    if message.own_id is not None or message.direction is Direction.OUTBOUND:
        shown["messageId"] = message.message_id
    if message.receiver_id is not None:
        shown["receiverMessageId"] = message.receiver_id
    if message.error:
        shown["error"] = message.error
    if content:
        shown["message"] = orjson.Fragment(message.body)
    return shown


class Progress:
    """Writes changes. Every method runs inside a transaction that has locked the channel."""

    __slots__ = ("_clock", "_event_bytes", "_outbox")

    def __init__(self, outbox: Recorder, clock: Clock, event_bytes: int) -> None:
        self._outbox = outbox
        self._clock = clock
        self._event_bytes = event_bytes

    def announce(self, transaction: Transaction, channel: Channel, message: Message, *, new: bool, trace_id: str = "") -> None:
        """Record the event that tells of a message; a new one's has its content, unless that is too large for everybody's queue."""
        content = new and len(message.body) <= self._event_bytes
        self._outbox.add(
            transaction,
            tenant=channel.tenant,
            type=STATE,
            key=message.conversation,
            body=ascii_json(describe(channel.id, message, content=content)),
            media=channel.type,
            endpoint=NO_ENDPOINT,
            trace_id=trace_id,
        )

    def move(
        self,
        transaction: Transaction,
        channel: Channel,
        message: Message,
        happening: Happening,
        *,
        to: Collection[str] | None = None,
        reasons: Sequence[dict[str, Any]] = (),
        error: str = "",
        trace_id: str = "",
    ) -> bool:
        """Apply a step to a message, for all of its recipients or some. Returns whether anything changed."""
        moved = False
        for recipient in message.recipients:
            if to is not None and recipient.id not in to:
                continue
            standing = after(recipient.standing, happening)
            if standing is not None:
                recipient.standing = standing
                recipient.reasons = list(reasons)
                moved = True
        if moved:
            message.state = of_all(each.standing.state for each in message.recipients)
            if happening is Happening.UNDELIVERED:
                message.error = error
            elif all(each.standing != UNDELIVERED for each in message.recipients):
                message.error = ""
            message.changed_ms = self._clock.wall_ms()
            message_store.update(transaction, message)
            self.announce(transaction, channel, message, new=False, trace_id=trace_id)
        return moved
