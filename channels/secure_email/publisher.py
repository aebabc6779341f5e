"""Hands events of secure e-mail to the event sink. An inbound mail is an interaction; it finishes when the mail is read or removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from channels.events import ACCEPTED, DUPLICATE, TYPE_NAMES, Event, EventData, EventSink, InteractionFinished, InteractionStarted
from channels.secure_email.counters import PublisherCounters
from channels.secure_email.models import CLOSED, MEDIA, RECEIVED, SUBTYPE
from channels.secure_email.service import MailEvent
from hub.core.ports import Clock
from hub.outbox.models import OutboxEvent, Settled
from hub.storage.transactions import Transaction

_log = structlog.get_logger(__name__)

SOURCE: Final = "hub:securemail"
"""``source`` of the events; their ``id`` is that of the outbox row, so that a repeat is counted once."""

_event: Final = msgspec.json.Decoder(MailEvent)


class NotTakenError(Exception):
    """The event sink refused an event. The outbox hands it over again later."""


class InteractionPublisher:
    """The :class:`hub.outbox.models.Consumer` of this family: hands ``cx.interaction.started`` and ``.finished`` to the event sink."""

    types = (RECEIVED, CLOSED)

    def __init__(self, find_sink: Callable[[], EventSink], clock: Clock) -> None:
        """``find_sink`` is called when there is an event to hand over, since not all families are built before."""
        self.counters = PublisherCounters()
        self._find_sink = find_sink
        self._clock = clock

    async def consume(self, event: OutboxEvent) -> None:
        """See :meth:`hub.outbox.models.Consumer.consume`.

        Raises:
            EventSinkError: the event log cannot be written.
            NotTakenError: the event is refused.
        """
        mail_event = _event.decode(event.body)
        data: EventData
        if event.type == RECEIVED:
            data = InteractionStarted(
                interaction_id=mail_event.interaction_id,
                media=MEDIA,
                subtype=SUBTYPE,
                external_id=mail_event.secure_mail_id,
                user_data={"secureMailId": mail_event.secure_mail_id, "address": mail_event.address, "subject": mail_event.subject},
            )
        else:
            data = InteractionFinished(interaction_id=mail_event.interaction_id, media=MEDIA, subtype=SUBTYPE, reason=mail_event.reason)
        outcome = await self._hand_over(event, data, event.at_ms)
        if outcome not in (ACCEPTED, DUPLICATE):
            # the sink took a later event while this one waited: hand it over with the present time
            now_ms = max(self._clock.wall_ms(), event.at_ms)
            _log.warning("interaction_told_late", type=event.type, event_id=event.id, reason=outcome, late_ms=now_ms - event.at_ms)
            outcome = await self._hand_over(event, data, now_ms)
            if outcome not in (ACCEPTED, DUPLICATE):
                raise NotTakenError(f"{TYPE_NAMES[type(data)]} of interaction {mail_event.interaction_id} is refused: {outcome}")
            self.counters.moved += 1
        if outcome == DUPLICATE:
            self.counters.repeated += 1
        elif event.type == RECEIVED:
            self.counters.started += 1
        else:
            self.counters.finished += 1

    async def _hand_over(self, event: OutboxEvent, data: EventData, time_ms: int) -> str:
        made = Event(TYPE_NAMES[type(data)], time_ms, SOURCE, str(event.id), data)
        # past: the sink takes the event however long it was away
        (outcome,) = await self._find_sink().accept(event.tenant, [made], past=True)
        return outcome

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Never called: these events go to no endpoint (:data:`hub.outbox.models.NO_ENDPOINT`)."""
