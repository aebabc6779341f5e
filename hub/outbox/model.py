"""What the outbox speaks of: events, endpoints, deliveries, attempts; and what a family that uses it brings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from hub.storage.transactions import Transaction

EVERY_ENDPOINT: Final = ""
"""``OutboxEvent.endpoint`` of an event that goes to every endpoint of its tenant that wants its type."""

NO_ENDPOINT: Final = "-"
"""``OutboxEvent.endpoint`` of an event that stays inside the hub."""


class OutboxEvent(NamedTuple):
    """Something that happened, recorded in the transaction in which it happened. What follows from it is idempotent by ``id``."""

    id: int
    """Rises: the sequence that receivers see in ``X-Hub-Sequence``."""
    tenant: str
    type: str
    """Such as ``interaction.started``: what endpoints choose by."""
    key: str
    """Events of one tenant and key stay in order."""
    media: str
    """What endpoints may choose by as well; empty when it has none."""
    operation_id: str
    """The same in every delivery and at every attempt; a UUID."""
    trace_id: str
    """``X-B3-TraceId``."""
    endpoint: str
    """The only endpoint that it is for, or :data:`EVERY_ENDPOINT`."""
    body: bytes
    """What is posted, byte for byte."""
    at_ms: int
    origin: str = ""
    """Where it came from, for the family's own consumer."""


class Secret(NamedTuple):
    """One secret of an endpoint. All that are valid sign."""

    text: str
    until_ms: int | None = None
    """None for the present one; an old one ends then."""


class Success(StrEnum):
    """What an endpoint must answer for a delivery to be done."""

    EXACTLY_200 = "200"
    ANY_2XX = "2xx"


class Throttle(StrEnum):
    """What the status 429 of an endpoint speaks of."""

    ENDPOINT = "endpoint"
    """All that goes there: nothing is sent to it for a while."""
    ORDER = "order"
    """The order that the delivery belongs to, one interaction or one consumer: only that waits, as long as ``Retry-After`` says."""


class Policy(NamedTuple):
    """How deliveries to an endpoint are judged. Times in ms. Stored as a list, so fields are added at the end, with a default."""

    success: Success = Success.ANY_2XX
    timeout_ms: int = 0
    """0: the setting ``outbox.timeout_s``."""
    refusal_is_final: bool = False
    """Whether a 4xx, but for 408 and 429, ends the delivery: the receiver understood it and will not have it."""
    throttle: Throttle = Throttle.ENDPOINT


DEFAULT_POLICY: Final = Policy()


@dataclass(slots=True)
class Endpoint:
    """Where deliveries go."""

    id: str
    tenant: str
    url: str
    secrets: tuple[Secret, ...]
    types: tuple[str, ...] = ()
    """The event types that it wants; ``interaction.*`` all below; empty: all."""
    media: tuple[str, ...] = ()
    """The media that it wants; empty: all."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of its own, sent with each attempt."""
    description: str = ""
    concurrency: int = 0
    """Requests that may be under way at once; 0: the setting ``outbox.concurrency``."""
    enabled: bool = True
    disabled_reason: str = ""
    policy: Policy = DEFAULT_POLICY
    owner: str = ""
    """The part of the hub that made it for itself, such as ``messaging``; empty for those that administrators made."""
    created_ms: int = 0
    failing_since_ms: int | None = None
    """Since when there were nothing but failures."""
    silent: int = 0
    """Time-outs and refused connections in a row, once there are as many as ``outbox.trip_after``; else 0."""
    closed_until_ms: int = 0
    """Until when nothing is sent to it, because it did not answer or asked to be left alone."""

    def wants(self, event: OutboxEvent) -> bool:
        """Whether an event goes to it."""
        if event.endpoint != EVERY_ENDPOINT:
            return event.endpoint == self.id
        if self.owner or event.tenant != self.tenant:
            return False
        return (not self.types or any(_matches(wanted, event.type) for wanted in self.types)) and (
            not self.media or event.media in self.media
        )


def _matches(wanted: str, event_type: str) -> bool:
    return wanted == event_type or (wanted.endswith(".*") and event_type.startswith(wanted[:-1]))


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up, and kept until somebody replays it."""


class Settled(NamedTuple):
    """The end of a delivery, as the family that it came from hears of it."""

    event: OutboxEvent
    delivery: int
    endpoint: str
    state: DeliveryState
    status: int
    """The HTTP status of the last attempt; 0 when there was no answer."""
    body: bytes
    """The answer's body, as much of it as is kept."""
    error: str
    """Why it was not delivered; empty when it was."""


class Consumer(Protocol):
    """What a family brings for the events that it records; in ``Parts.roles`` under :data:`ROLE`."""

    types: Collection[str]
    """The event types that are its own."""

    async def consume(self, event: OutboxEvent) -> None:
        """What follows from an event inside the hub: publish it, tell others. Called in the order of the events of a key, at least once;
        a second call for the same ``event.id`` must not do it again, or must not be seen. What it raises has it called again later.
        """
        ...

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """A delivery ended. Runs inside the transaction that records it, in the database's thread."""
        ...


ROLE: Final = "outbox"
"""The role of a :class:`Consumer`."""


class Recorder(Protocol):
    """The outbox as families see it (``Context.outbox``)."""

    def add(
        self,
        transaction: Transaction,
        *,
        tenant: str,
        type: str,
        key: str,
        body: bytes,
        media: str = "",
        endpoint: str = EVERY_ENDPOINT,
        operation_id: str = "",
        trace_id: str = "",
        origin: str = "",
    ) -> OutboxEvent:
        """Record an event in the transaction in which it happens: it follows, or neither does. Without ``operation_id`` and ``trace_id``
        new ones are drawn.
        """
        ...

    def save_endpoint(self, transaction: Transaction, endpoint: Endpoint) -> None:
        """Make or change an endpoint that a family owns (``Endpoint.owner``). Deliveries follow the change at once."""
        ...

    def remove_endpoint(self, transaction: Transaction, endpoint: str) -> None:
        """Remove it; what waits for it is given up, as dead."""
        ...
