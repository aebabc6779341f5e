"""Hands events of secure e-mail to the event sink: an inbound mail is an interaction, which finishes when the mail was read or removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec
import structlog

from channels.events import ACCEPTED, DUPLICATE, TYPE_NAMES, Event, EventData, EventSink, InteractionFinished, InteractionStarted
from channels.secure_email.mailroom import Happened
from channels.secure_email.model import CLOSED, MEDIA, RECEIVED, SUBTYPE
from hub.core.metric import CounterFamily
from hub.core.ports import Clock
from hub.outbox.models import OutboxEvent, Settled
from hub.storage.transactions import Transaction

_log = structlog.get_logger(__name__)

SOURCE: Final = "hub:securemail"
"""``source`` of the events; their ``id`` is that of the outbox row, so that a repeat is counted once."""


@dataclass(slots=True)
class AnnouncerCounters:
    """What is told of interactions; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "events",
            "Events of secure e-mail's interactions, by what they told; or `repeated`, which had been taken before; or `moved`, which came "
            "too late and were told with the present time.",
            "outcome",
            {"started": "started", "finished": "finished", "repeated": "repeated", "moved": "moved"},
        ),
    )

    started: int = 0
    """Interactions whose start was handed to the event sink."""
    finished: int = 0
    """Interactions that were told to have finished."""
    repeated: int = 0
    """Events that had been taken before."""
    moved: int = 0
    """Events that came too late for somebody, and were told with the present time."""


class NotTakenError(Exception):
    """The event sink refuses an event: the outbox is to try again later."""


class Announcer:
    """The :class:`hub.outbox.models.Consumer` of this family: hands ``cx.interaction.started`` and ``.finished`` to the event sink."""

    types = (RECEIVED, CLOSED)

    def __init__(self, find_sink: Callable[[], EventSink], clock: Clock) -> None:
        """``find_sink`` is called when there is an event to hand over: all families are built by then."""
        self.counters = AnnouncerCounters()
        self._find_sink = find_sink
        self._clock = clock

    async def consume(self, event: OutboxEvent) -> None:
        """See :meth:`hub.outbox.models.Consumer.consume`.

        Raises:
            EventSinkError: the event log cannot be written.
            NotTakenError: the event is refused.
        """
        happened = msgspec.json.decode(event.body, type=Happened)
        data: EventData
        if event.type == RECEIVED:
            data = InteractionStarted(
                interaction_id=happened.interaction_id,
                media=MEDIA,
                subtype=SUBTYPE,
                external_id=happened.secure_mail_id,
                user_data={"secureMailId": happened.secure_mail_id, "address": happened.address, "subject": happened.subject},
            )
        else:
            data = InteractionFinished(interaction_id=happened.interaction_id, media=MEDIA, subtype=SUBTYPE, reason=happened.reason)
        outcome = await self._tell(event, data, event.at_ms)
        if outcome not in (ACCEPTED, DUPLICATE):
            # a later event was taken while this one waited: it is handed over with the present time
            now_ms = max(self._clock.wall_ms(), event.at_ms)
            _log.warning("interaction_told_late", type=event.type, event_id=event.id, reason=outcome, late_ms=now_ms - event.at_ms)
            outcome = await self._tell(event, data, now_ms)
            if outcome not in (ACCEPTED, DUPLICATE):
                raise NotTakenError(f"{TYPE_NAMES[type(data)]} of interaction {happened.interaction_id} is refused: {outcome}")
            self.counters.moved += 1
        if outcome == DUPLICATE:
            self.counters.repeated += 1
        elif event.type == RECEIVED:
            self.counters.started += 1
        else:
            self.counters.finished += 1

    async def _tell(self, event: OutboxEvent, data: EventData, time_ms: int) -> str:
        told = Event(TYPE_NAMES[type(data)], time_ms, SOURCE, str(event.id), data)
        (outcome,) = await self._find_sink().accept(event.tenant, [told], past=True)  # however long it was away
        return outcome

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Never called: these events stay inside the hub (:data:`hub.outbox.models.NO_ENDPOINT`), so nothing is delivered."""
