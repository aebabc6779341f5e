"""Changes the states of messages. Each change is written in one transaction with the outbox event that publishes it on the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Final

from channels.messaging import store_messages
from channels.messaging.models import Channel, Message
from channels.messaging.serializers import message_entry
from channels.messaging.state_machine import UNDELIVERED, Transition, after, of_all
from hub.core.json_text import ascii_json
from hub.core.ports import Clock
from hub.outbox.models import NO_ENDPOINT, Recorder
from hub.storage.transactions import Transaction

STATE: Final = "message.state"
"""Type of the event that publishes a new message or a changed state; it stays inside the hub."""

OUTGOING: Final = "message.outgoing"
"""Type of the event that goes to the channel's webhook."""

_MAX_KEY_LENGTH: Final = 255


def conversation(channel: Channel, consumers: Sequence[str]) -> str:
    """The outbox key of all messages with one consumer, whose order is kept."""
    key = f"messaging/{channel.number}/{' '.join(sorted(consumers))}"
    return key if len(key) <= _MAX_KEY_LENGTH else f"messaging/{channel.number}/{hashlib.sha256(key.encode()).hexdigest()}"


class StatusWriter:
    """Writes changes of state. Every method runs inside a transaction that has locked the channel."""

    __slots__ = ("_clock", "_event_bytes", "_outbox")

    def __init__(self, outbox: Recorder, clock: Clock, event_bytes: int) -> None:
        self._outbox = outbox
        self._clock = clock
        self._event_bytes = event_bytes

    def announce(self, transaction: Transaction, channel: Channel, message: Message, *, new: bool, trace_id: str = "") -> None:
        """Record the event that publishes a message. For a new message it has the content too, unless that is larger than
        ``messaging.event_bytes``.
        """
        content = new and len(message.body) <= self._event_bytes
        self._outbox.add(
            transaction,
            tenant=channel.tenant,
            type=STATE,
            key=message.conversation,
            body=ascii_json(message_entry(channel.id, message, content=content)),
            media=channel.type,
            endpoint=NO_ENDPOINT,
            trace_id=trace_id,
        )

    def move(
        self,
        transaction: Transaction,
        channel: Channel,
        message: Message,
        transition: Transition,
        *,
        to: Collection[str] | None = None,
        reasons: Sequence[dict[str, Any]] = (),
        error: str = "",
        trace_id: str = "",
    ) -> bool:
        """Apply a transition to a message, for all of its recipients or for those in ``to``. Returns whether anything changed."""
        moved = False
        for recipient in message.recipients:
            if to is not None and recipient.id not in to:
                continue
            status = after(recipient.status, transition)
            if status is not None:
                recipient.status = status
                recipient.reasons = list(reasons)
                moved = True
        if moved:
            message.state = of_all(each.status.state for each in message.recipients)
            if transition is Transition.UNDELIVERED:
                message.error = error
            elif all(each.status != UNDELIVERED for each in message.recipients):
                message.error = ""
            message.changed_ms = self._clock.wall_ms()
            store_messages.update(transaction, message)
            self.announce(transaction, channel, message, new=False, trace_id=trace_id)
        return moved
