"""Where events go: the ports between the family that takes events in and the families that use them."""

from collections.abc import Sequence
from typing import Final, Protocol

from channels.events.types import Event
from hub.offers import Port


class RefusedEventError(ValueError):
    """An event that is not taken. The text is ``field: expected ...; got ...``; ``field`` names a field of the event."""


class LateEventError(RefusedEventError):
    """An event is older than one that was already taken for the same object. The text is ``time: expected ..., got ...`` and says which
    object and by how much."""


EVENT_STREAM = "events"
"""The stream of the event log, one for each tenant, that ingest appends to and that consumers are rebuilt from."""


class EventConsumer(Protocol):
    """A family that lives on events. Ingest calls it."""

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        """Called before the event is logged, in its order. With ``past`` it may be as old as it likes.

        Raises:
            RefusedEventError: the event is not to be taken: it comes too late, or is one too many of something.
        """
        ...

    def consume(self, tenant: str, events: Sequence[tuple[int, Event]]) -> None:
        """Take events that are in the log now, each with its position there. Must not raise for an event that ``check`` let pass."""
        ...


EVENT_CONSUMERS: Final = Port[EventConsumer]("event consumers")
"""Where families that live on events offer themselves to ingest."""


class EventSinkError(Exception):
    """The event log could not be written: nothing of the call was taken, the same events may come again."""


ACCEPTED = "accepted"
DUPLICATE = "duplicate"


class EventSink(Protocol):
    """Where events go in: validation is done, repeats and order are looked after behind it."""

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        """Take events; one outcome for each: ``accepted``, ``duplicate``, or a sentence that says why it was refused. With ``past`` the
        limit on their age does not apply.

        Returns when every accepted event is on disk.

        Raises:
            EventSinkError: the log could not be written.
        """
        ...


EVENT_SINK: Final = Port[EventSink]("event sink")
"""Where ingest offers itself to families that make events."""
