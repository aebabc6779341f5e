"""The ports between ingest, which takes events, the families that process or make events, and the one that keeps interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from channels.events.types import Event
from hub.offers import Port

if TYPE_CHECKING:  # commands that only read events do not import the modules of the database
    from hub.storage.transactions import Transaction


class RefusedEventError(ValueError):
    """A consumer refuses an event. The text is ``field: expected ...; got ...``; ``field`` names a field of the event."""


class LateEventError(RefusedEventError):
    """An event is older than one that was already accepted for the same object. The text is ``time: expected ..., got ...`` and names the
    object and the difference."""


EVENT_STREAM = "events"
"""The stream of the event log, one for each tenant. Ingest appends to it, and consumers restore their state from it."""


class EventConsumer(Protocol):
    """A family that processes events. Ingest calls it."""

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        """Check an event before it is written to the log. Called in the order of the log. With ``past`` an event may have any age.

        Raises:
            RefusedEventError: the event must not be accepted: it comes too late, or exceeds a limit on a count.
        """
        ...

    def consume(self, tenant: str, events: Sequence[tuple[int, Event]]) -> None:
        """Take events that are in the log now, each with its position there. Must not raise for an event that ``check`` let pass."""
        ...


EVENT_CONSUMERS: Final = Port[EventConsumer]("event consumers")
"""The port by which families that process events offer themselves to ingest."""


class EventSinkError(Exception):
    """The event log could not be read or written: no event of the call was accepted, and the same events may be sent again."""


ACCEPTED = "accepted"
DUPLICATE = "duplicate"


class EventSink(Protocol):
    """Takes validated events. It drops repeats and orders the events."""

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        """Take events. Returns one outcome for each: ``accepted``, ``duplicate``, or a sentence with the reason why it was refused. With
        ``past`` the limit on their age does not apply.

        Returns when every accepted event is on disk.

        Raises:
            EventSinkError: the log could not be read or written.
        """
        ...


EVENT_SINK: Final = Port[EventSink]("event sink")
"""The port by which ingest offers itself to families that make events."""


class InteractionLookup(Protocol):
    """The family that keeps interactions."""

    def is_over(self, transaction: Transaction, tenant: str, identifier: str) -> bool | None:
        """Whether an interaction has finished; None: there is none of this id. One that has not does not finish
        before the transaction ends.
        """
        ...


INTERACTIONS: Final = Port[InteractionLookup]("interactions")
"""The port by which the family that keeps interactions offers itself to families whose records belong to them."""


class InteractionListener(Protocol):
    """A family whose records end with their interaction."""

    def interaction_finished(self, transaction: Transaction, tenant: str, identifier: str) -> None:
        """An interaction finishes in this transaction, whoever ended it. Must do nothing for one that it does not know."""
        ...


INTERACTION_LISTENERS: Final = Port[InteractionListener]("listeners to interactions")
"""The port by which families are told that interactions finish."""
